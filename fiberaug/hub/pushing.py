"""``push``: a folder of this package, on the Hub."""

from dataclasses import replace
from pathlib import Path

from fiberaug.hub.client import endpoint_of, find_token, import_hub
from fiberaug.hub.options import Pushed, PushOptions
from fiberaug.hub.preparing import prepare
from fiberaug.hub.sending import Sender

__all__ = ["push"]


def push(
    folder: str | Path,
    name: str,
    *,
    public: bool = False,
    revision: str = "main",
    message: str | None = None,
    licence: str | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> Pushed:
    """Send a folder to the Hub, and return what came of it.

    What it is is found from the folder: a generator (``generator.json``), the folder of
    a training (its best generator is sent), a LoRA adapter
    (``pytorch_lora_weights.safetensors``), a pool (``pool.json``) or converted shards
    (``dataset.json``). It is checked first: shards, indexes and weights must be those
    on record, and no file may be hidden, code, a pickle, a link that leads out, or seem
    to hold a secret. Nothing in the folder is changed. A card is written unless there
    is a ``README.md``, which is then checked and sent.

    All files come in one commit, after the large ones have arrived; a call that was
    killed sends only what is missing when it is made again. The token is that of
    ``HF_TOKEN`` or ``hf auth login``; ``HF_ENDPOINT`` names another Hub.

    Args:
        folder: What is sent.
        name: ``user/name``, or ``name`` in the account of the token.
        public: Let everybody see a repository that is made; else it is private. A
            repository that is there and public is refused without it.
        revision: Branch, made where it is not there.
        message: Of the commit.
        licence: Of what is sent, such as ``cc0-1.0``; None: as the folder says.
        dry_run: Check, and return what would be sent; no network is used.
        progress: Show bars on a terminal.

    Raises:
        UsageError: An argument is out of range, the folder holds nothing that is
            pushed, there is no token or it may not write there, or ``huggingface_hub``
            is not installed.
        DataRefused: The folder is unfinished, or a file is missing, changed or refused;
            or the Hub refuses them.
        StoreError: A file cannot be read, or the Hub or the network fails; the same
            call goes on.

    Example:
        >>> import fiberaug.hub
        >>> done = fiberaug.hub.push("runs/gan-1", "me/fibres")  # doctest: +SKIP
        >>> done.private, done.commit  # doctest: +SKIP
        (True, '22ef5c471b54...')
    """
    options = PushOptions(
        name=name, public=public, revision=revision, message=message, licence=licence,
        progress=progress,
    )  # fmt: skip
    if dry_run:
        parcel = prepare(folder, name, licence=licence, progress=progress)
        return Pushed(parcel=parcel, name=name, revision=revision, notes=parcel.notes)
    token = find_token()
    sender = Sender(import_hub(), endpoint=endpoint_of(), token=token)
    who = sender.who()  # before minutes of checks
    full = name if "/" in name else f"{who}/{name}"
    parcel = prepare(folder, full, licence=licence, token=token, progress=progress)
    return sender.send(parcel, replace(options, name=full))
