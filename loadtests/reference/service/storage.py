"""Documents and proposals in S3."""

from contextlib import AsyncExitStack
from typing import Any, BinaryIO, Self

import aioboto3
from aiobotocore.config import AioConfig

from .settings import Settings


class Storage:
    """One bucket; `async with` opens and closes the client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        config = AioConfig(
            s3={"addressing_style": "path" if self._settings.s3_force_path_style else "auto"},
            max_pool_connections=50,
            retries={"mode": "standard", "max_attempts": 3},
            # A checksum behind the body is not understood by every S3.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = aioboto3.Session().client(
            "s3",
            region_name=self._settings.aws_region,
            endpoint_url=self._settings.s3_endpoint_url,
            config=config,
        )
        self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def put(self, key: str, body: bytes | BinaryIO) -> None:
        """Stores a PDF."""
        await self._client.put_object(
            Bucket=self._settings.s3_bucket, Key=key, Body=body, ContentType="application/pdf"
        )

    async def get(self, key: str) -> bytes:
        """Reads an object whole."""
        answer = await self._client.get_object(Bucket=self._settings.s3_bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read()

    async def link(self, key: str, file_name: str) -> str:
        """A URL that downloads the object for a while."""
        return await self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._settings.s3_bucket,
                "Key": key,
                "ResponseContentType": "application/pdf",
                "ResponseContentDisposition": f'attachment; filename="{_ascii(file_name)}"',
            },
            ExpiresIn=max(1, self._settings.presign_ttl_ms // 1000),
        )

    async def ping(self) -> None:
        """Fails when the bucket does not answer."""
        await self._client.head_bucket(Bucket=self._settings.s3_bucket)


def _ascii(name: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
