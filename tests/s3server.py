"""moto's S3 server on loopback, with one bucket."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["KEY", "SECRET", "s3_server", "use_s3"]

KEY, SECRET = "KEYCANARY", "WORDCANARY"


@contextmanager
def s3_server(objects: Mapping[str, bytes], *, bucket: str = "photos") -> Iterator[int]:
    """Serve objects of a bucket while the ``with`` block runs; gives the port."""
    import boto3
    import urllib3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        # All servers of a process share their buckets.
        urllib3.request("POST", f"http://127.0.0.1:{port}/moto-api/reset")
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket=bucket)
        for name, content in objects.items():
            client.put_object(Bucket=bucket, Key=name, Body=content)
        yield port
    finally:
        server.stop()


def use_s3(patch, port: int) -> None:
    """Point ``s3://`` at a port of this machine until the patches are undone."""
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
