"""The models being served, by name: loaded or not, and reloaded without dropping a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.bundle import Bundle, BundleError, read_bundle
from service.bundles import bundle_folders
from service.embedding.backends.base import Backend
from service.embedding.generation import Generation
from service.embedding.model import Model, Opener, memory_of
from service.embedding.reload import Change, Refusal, changes, read_bundles
from service.embedding.residents import Resident, Residents
from service.embedding.turns import Turns
from service.errors import DeadlineExceeded, InvalidSetting, ServiceError, UnknownModel
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger("satcle")


class Models:
    """Models by name, of which one is the default. Where there is a `generation`, other processes share the models."""

    def __init__(
        self, bundles: list[Bundle], opener: Opener, generation: Generation | None = None, seen: int = 0
    ) -> None:
        """Load the default, and the others as far as there is room; `seen` is the generation that the bundles are of.

        Raises what `Opener.open` raises, and InvalidSetting where a model does not fit; of a generation that has begun
        all but the default may be missing, and the log says why.
        """
        self._opener = opener
        self._generation = generation
        self._seen = max(1, seen)
        self._sharing = len(bundles)
        self._by_name = {bundle.card.name: Resident(bundle) for bundle in bundles}
        self._default = opener.settings.default_model or bundles[0].card.name
        bound = opener.settings.model_memory_mb
        self._residents = Residents(self._open, bound and bound * 2**20, opener.metrics)
        self._reloading = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        for name in sorted(self._by_name, key=lambda name: name != self._default):
            try:
                self._load_at_start(self._by_name[name])
            except ServiceError as error:
                if not seen or name == self._default:
                    raise
                log.error("model %s refused: %s", name, error)
                del self._by_name[name]
        if generation:
            generation.begin()

    @property
    def default(self) -> Model:
        """The default model, while it is loaded, as it is at first."""
        model = self._by_name[self._default].model
        assert model is not None
        return model

    @property
    def default_name(self) -> str:
        return self._default

    async def all(self, deadline: float | None) -> list[Resident]:
        """Every model, loaded or not, the default first. Raises DeadlineExceeded."""
        await self._follow(deadline)
        return sorted(self._by_name.values(), key=lambda each: each.bundle.card.name != self._default)

    async def named(self, name: str | None, deadline: float | None) -> Resident:
        """The model of that name, loaded or not; the default where it is None. Raises UnknownModel."""
        await self._follow(deadline)
        return self._named(name)

    @asynccontextmanager
    async def using(self, name: str | None, deadline: float) -> AsyncIterator[Model]:
        """The model of that name, loaded, and not unloaded while it is used; by `deadline` in the event loop's time.

        Raises UnknownModel, DeadlineExceeded, or BackendFailed where it cannot be loaded.
        """
        await self._follow(deadline)
        while not (resident := self._named(name)).is_open:
            await self._residents.load(resident, deadline)
        with self._residents.use(resident) as model:
            yield model

    async def warm_up(self) -> None:
        """Have each loaded model embed a full batch. Raises BackendFailed."""
        for resident in self._residents.loaded:
            if resident.model:
                await resident.model.warm_up()

    async def probe(self) -> None:
        """A real inference of each loaded model. Raises BackendFailed."""
        for resident in self._residents.loaded:
            if resident.is_open and not resident.retired:
                with self._residents.keep(resident) as model:
                    await model.probe()

    async def reload(self) -> list[Change]:
        """Take up bundles that are new or other than before, and let go of those that are gone.

        Requests under way end on the model that they began on. Other processes that share the models follow.
        """
        async with self._reloading:
            changed = await self._take_up()
            if self._generation:
                number = self._generation.advance()
                self._seen += number == self._seen + 1  # else others have reloaded meanwhile, and this one follows
        return changed

    def follow(self) -> asyncio.Task[None] | None:
        """Do as another process has done that reloaded the models; None where there is nothing to do."""
        if self._generation is None or self._generation.number == self._seen:
            return None
        if self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().create_task(self._catch_up(self._generation))
        return self._following

    async def close(self) -> None:
        if self._following:
            self._following.cancel()
        await self._residents.close()
        self._opener.turns.close()

    def _load_at_start(self, resident: Resident) -> None:
        _check_fits(self._residents, resident.bundle)
        if self._residents.fits(resident.bundle):
            self._residents.load_at_start(resident)

    def _named(self, name: str | None) -> Resident:
        if name is None:
            return self._by_name[self._default]
        if name not in self._by_name:
            raise UnknownModel(f"no model {name[:64]!a} is served; there is {', '.join(self._by_name)}")
        return self._by_name[name]

    def _open(self, bundle: Bundle) -> Model:
        return self._opener.open(bundle, self._sharing)

    async def _follow(self, deadline: float | None) -> None:
        following = self.follow()
        if following is None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(following)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the models were reloaded") from None

    async def _catch_up(self, generation: Generation) -> None:
        async with self._reloading:
            while self._seen != generation.number:
                number = generation.number
                try:
                    await self._take_up()
                except Exception:
                    log.exception("the models could not be reloaded; they stay as they are")
                self._seen = number

    async def _take_up(self) -> list[Change]:
        before = self._by_name
        served = {name: resident.bundle for name, resident in before.items()}
        found = await asyncio.to_thread(_found, self._opener.settings.bundles, list(served.values()))
        planned = changes(served, found, self._default)
        self._sharing = len({change.model for change in planned if change.bundle})
        changed, residents = [], {}
        for plan in planned:
            change, resident = await self._prepared(plan)
            changed.append(change)
            if resident:
                residents[change.model] = resident
        self._by_name = residents
        self._sharing = len(residents)
        for resident in before.values():
            if resident not in residents.values():
                self._residents.retire(resident)
        await self._share_cache()
        for change in changed:
            log.log(*_told(change))
        return changed

    async def _prepared(self, change: Change) -> tuple[Change, Resident | None]:
        """The change as it really is, and the resident of that name from now on: loaded, where there is room for it."""
        before = self._by_name.get(change.model)
        if change.bundle is None or (before and change.kind in ("kept", "refused")):
            return change, _remaining(before, change)
        resident = Resident(change.bundle)
        try:
            _check_fits(self._residents, change.bundle)
            if self._residents.fits(change.bundle):
                await self._residents.load(resident, None)
        except ServiceError as error:
            refused = change.refused(str(error), before.bundle if before else None)
            return refused, _remaining(before, refused)
        return change, resident

    async def _share_cache(self) -> None:
        """Where there are more models than there were, each has less of the cache's memory."""
        share = self._opener.cache_bytes(self._sharing)
        for resident in self._residents.loaded:
            if resident.model and resident.model.embedder.cache:
                await resident.model.embedder.cache.shrink(share)


def load_models(
    settings: Settings, metrics: Metrics, backend: Backend | None, generation: Generation | None = None
) -> Models:
    """Read and verify every bundle of the settings, and open the default and what else there is room for.

    `backend` replaces ONNX Runtime where given. A process that joins others, whose `generation` has begun, does without
    the models that it must refuse, as they do. Raises BundleError, InvalidSetting, ProviderUnavailable or
    BackendFailed.
    """
    seen = generation.number if generation else 0
    bundles = _read_leniently(settings) if seen else _read_strictly(settings)
    return Models(bundles, Opener(settings, metrics, Turns(settings.worker_threads), backend), generation, seen)


def default_model(settings: Settings) -> str:
    """The name of the default model. Raises BundleError or InvalidSetting."""
    return settings.default_model or _read_strictly(settings)[0].card.name


def _read_strictly(settings: Settings) -> list[Bundle]:
    bundles = [read_bundle(path) for path in bundle_folders(settings.bundles)]
    names = [bundle.card.name for bundle in bundles]
    if len(set(names)) < len(names):
        raise BundleError(f"the bundles of SATCLE_BUNDLES must differ in name, and are named {', '.join(names)}")
    if settings.default_model is not None and settings.default_model not in names:
        raise InvalidSetting(f"SATCLE_DEFAULT_MODEL {settings.default_model!r}: there is {', '.join(names)}")
    return bundles


def _read_leniently(settings: Settings) -> list[Bundle]:
    found = changes({}, _found(settings.bundles, []), "")
    for change in found:
        if change.kind == "refused":
            log.log(*_told(change))
    bundles = [change.bundle for change in found if change.bundle]
    if settings.default_model not in [bundle.card.name for bundle in bundles]:
        raise BundleError(f"the bundle of the default model {settings.default_model!r} is gone: put it back")
    return bundles


def _found(names: tuple[str, ...], served: list[Bundle]) -> list[Bundle | Refusal]:
    """What is there now: of a bundle served, also that it is no more one."""
    folders = bundle_folders(names, missing_ok=True)
    folders += [bundle.path for bundle in served if bundle.path.is_dir() and bundle.path not in folders]
    return read_bundles(folders)


def _remaining(before: Resident | None, change: Change) -> Resident | None:
    """What was served before and still is, if anything."""
    if before is None or change.bundle is None:
        return None
    before.bundle = change.bundle  # which may lie elsewhere now
    before.lasting = change.kind == "refused"
    return before


def _check_fits(residents: Residents, bundle: Bundle) -> None:
    if not residents.fits_alone(bundle):
        raise InvalidSetting(
            f"model {bundle.card.name} takes about {memory_of(bundle) / 2**20:.0f} MB: raise SATCLE_MODEL_MEMORY_MB"
        )


def _told(change: Change) -> tuple[int, str]:
    if change.kind == "refused":
        return logging.ERROR, f"model {change.model} refused: {change.reason}"
    return logging.INFO, f"model {change.model} {change.kind}"
