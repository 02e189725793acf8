"""``huggingface_hub``, imported when it is first needed; the token that it finds."""

import os
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.shards.urls import redact

__all__ = ["endpoint_of", "find_token", "import_hub"]

_DEFAULT = "https://huggingface.co"


def import_hub() -> Any:  # noqa: ANN401  # a module
    """Return the package ``huggingface_hub``.

    Raises:
        UsageError: It is not there.
    """
    try:
        import huggingface_hub.errors  # noqa: PLC0415  # the extra hf
        import huggingface_hub.utils  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f'a push needs huggingface_hub: pip install "fiberaug[hf]" ({error!s:.200})'
        ) from error
    return huggingface_hub


def find_token() -> str:
    """Return the token of the environment, or of ``hf auth login``.

    Raises:
        UsageError: There is none.
    """
    token = import_hub().get_token()
    if not token:
        raise UsageError(
            "there is no token of the Hub: log in with hf auth login, or set HF_TOKEN"
            " to one that may write"
        )
    return str(token)


def endpoint_of() -> str:
    """Return the URL of the Hub: ``HF_ENDPOINT``, or that of Hugging Face.

    Raises:
        UsageError: It has credentials in it, or is no http(s) URL.
    """
    url = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _DEFAULT
    if not url.startswith(("https://", "http://")) or redact(url) != url:
        raise UsageError(
            "HF_ENDPOINT must be an http(s) URL without credentials, got"
            f" {redact(url)!r:.120}"
        )
    return url
