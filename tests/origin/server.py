"""All sites together: start, stop, and what a test wants to know about them."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.origin import made_civitai as made
from tests.origin import made_huggingface as hub
from tests.origin.cdn import Cdn
from tests.origin.civitai import Civitai
from tests.origin.direct import Direct
from tests.origin.faults import Faults, Log
from tests.origin.huggingface import Huggingface
from tests.origin.listener import Site


@dataclass(frozen=True)
class Links:
    """One link of each kind, to paste."""

    checkpoint: str
    lora_with_token: str
    early_access: str
    bundle: str
    large: str
    hub_file: str
    hub_snapshot: str
    hub_sharded: str
    hub_gated: str
    hub_private: str
    direct: str
    secret_direct: str


class Origin:
    """CivitAI, the Hub, a CDN and a file host on four ports of 127.0.0.1.

    Use it as a context manager, or `start()` and `stop()`. `stop` closes every connection, joins
    every thread and raises what went wrong inside.
    """

    def __init__(self, *, port_base: int | None = None) -> None:
        self.log = Log()
        self.faults = Faults()
        self.cdn = Cdn()
        self.civitai = Civitai(self.cdn)
        self.huggingface = Huggingface(self.cdn)
        self.direct = Direct()
        self._port_base = port_base
        self._sites: list[Site] = []

    def start(self) -> Self:
        parts = {
            "civitai": self.civitai,
            "huggingface": self.huggingface,
            "cdn": self.cdn,
            "direct": self.direct,
        }
        for number, (name, part) in enumerate(parts.items()):
            port = self._port_base + number if self._port_base is not None else 0
            site = Site(name, part.answer, log=self.log, faults=self.faults, port=port)
            self._sites.append(site)
            part.url = site.url
        return self

    def stop(self) -> None:
        self.faults.clear()
        problems = []
        for site in self._sites:
            site.stop()
            problems += site.problems
        self._sites.clear()
        if problems:
            raise ExceptionGroup("The origin failed inside", problems)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def civitai_url(self) -> str:
        return self.civitai.url

    @property
    def huggingface_url(self) -> str:
        return self.huggingface.url

    @property
    def cdn_url(self) -> str:
        return self.cdn.url

    @property
    def direct_url(self) -> str:
        return self.direct.url

    @property
    def allow(self) -> str:
        """The value of OUTBOUND_ALLOW."""
        return ",".join(site.address for site in self._sites)

    def env(self) -> dict[str, str]:
        """What the product needs to use this origin instead of the world."""
        return {
            "CIVITAI_ENDPOINT": self.civitai_url,
            "HF_ENDPOINT": self.huggingface_url,
            "OUTBOUND_ALLOW": self.allow,
        }

    def drop_connections(self) -> None:
        """End all open connections at once; new ones are served."""
        for site in self._sites:
            site.drop_connections()

    @property
    def links(self) -> Links:
        def civitai(model_id: int, version_id: int | None = None) -> str:
            query = f"?modelVersionId={version_id}" if version_id else ""
            return f"{self.civitai_url}/models/{model_id}{query}"

        return Links(
            checkpoint=civitai(made.CHECKPOINT),
            lora_with_token=civitai(made.TOKEN_LORA_MODEL, made.TOKEN_LORA),
            early_access=civitai(made.EARLY_ACCESS_MODEL),
            bundle=civitai(made.BUNDLE_MODEL),
            large=civitai(made.LARGE_MODEL),
            hub_file=f"{self.huggingface_url}/{hub.SINGLE}/blob/main/made_sdxl_lora.safetensors",
            hub_snapshot=f"{self.huggingface_url}/{hub.SNAPSHOT}",
            hub_sharded=f"{self.huggingface_url}/{hub.SHARDED}",
            hub_gated=f"{self.huggingface_url}/{hub.GATED}",
            hub_private=f"{self.huggingface_url}/{hub.PRIVATE}",
            direct=self.direct.link("made_direct_lora_sdxl.safetensors"),
            secret_direct=self.direct.secret_link("made_secret_lora_sdxl.safetensors"),
        )
