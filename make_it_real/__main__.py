"""Run ``mir`` as ``python -m make_it_real``."""

from make_it_real.cli import app

if __name__ == "__main__":
    app(prog_name="mir")
