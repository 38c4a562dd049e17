"""``python -m make_it_real`` is ``mir``."""

from make_it_real.cli import app

if __name__ == "__main__":
    app(prog_name="mir")
