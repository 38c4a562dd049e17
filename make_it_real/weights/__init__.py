"""Model files, each one safetensors file: save, load, verify, export, the hub."""
