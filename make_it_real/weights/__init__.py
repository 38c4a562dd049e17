"""Model files: one safetensors file a model."""
