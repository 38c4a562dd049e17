"""mir app: the web page."""

import secrets
import threading
import webbrowser
from contextlib import closing
from typing import Annotated

import typer

from make_it_real.cli import console, options
from make_it_real.errors import ServerError
from make_it_real.installation import install_command, missing

PANEL = "Server"


@console.command
def app(
    model: options.ModelOrAuto = options.AUTO,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, metavar="N", rich_help_panel=PANEL,
            help="Port of the page; 0 picks a free one.",
        ),
    ] = 7860,
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", rich_help_panel=PANEL,
            help="Address to listen at. Any other than 127.0.0.1 opens the page to the network.",
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TEXT", rich_help_panel=PANEL,
            help="Secret that the page's address has to hold [a random one with --host].",
        ),
    ] = None,
    browser: Annotated[
        bool,
        typer.Option("--browser/--no-browser", rich_help_panel=PANEL, help="Open the browser."),
    ] = True,
    max_pixels: Annotated[
        int,
        typer.Option(
            "--max-pixels", min=1, metavar="N", rich_help_panel=PANEL,
            help="Refuse pictures with more pixels.",
        ),
    ] = 50_000_000,
) -> None:  # fmt: skip
    """Serve a page to draw on: draw, drop or paste a picture, and see it become real.

    The page is for this machine alone, needs no network, and keeps nothing. Ctrl-C ends it.
    """
    if token == "":
        raise typer.BadParameter("--token is empty")
    if missing("app"):
        raise ServerError(f"mir app needs an extra: {install_command('app')}")

    from make_it_real.app.server import Server, address, is_loopback, listen

    with closing(listen(host, port)) as listening:
        if not is_loopback(host):
            token = token or secrets.token_urlsafe(16)
            console.say(
                f"warning: whoever can reach {host} and has the address with its token can use "
                "this page; what they send is not encrypted"
            )

        from make_it_real.app.models import Models
        from make_it_real.app.site import Site
        from make_it_real.app.turns import Turns

        turns = Turns()
        models = Models(model, device, turns.check, dtype)
        if dtype == "bfloat16":
            options.warn_of_bfloat16(models.device)
        site = Site(models, turns, max_pixels)
        url = address(listening, token)

        def ready() -> None:
            print(url, flush=True)
            console.say("Ctrl-C ends it")
            if browser:
                # A browser of the terminal would keep the page waiting.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        try:
            Server(site.app(token), turns, ready).serve_at(listening)
        except KeyboardInterrupt:
            raise typer.Exit(console.INTERRUPTED) from None
