"""Models of the Hugging Face hub, through its own client: only files that a model needs, at one commit, checked.

The client brings the cache, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, tokens and retries. What is asked of it here: the commit
and the published hashes of all files first (one request), the small files next, and the weights last, when it is known
that they can be used. No pickle and no code is ever fetched. A commit that was found whole before needs no request; a
hub that cannot be reached leaves what the cache holds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from microtune.data.objects import first_line
from microtune.errors import InputError
from microtune.families.base import read_spec
from microtune.families.files import CONFIG, INDEX, PICKLES, WEIGHTS, read_index
from microtune.run.hub.cache import (
    COMMIT,
    Published,
    Snapshot,
    by_hash,
    check,
    name_revision,
    published_by_link,
    recall,
    remember,
    weights_of,
)

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SMALL = (
    *(CONFIG, "generation_config.json", INDEX, ADAPTER),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "chat_template.json", "chat_template.jinja"),
    *("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"),
)
SMALL_ENDINGS = (".model", ".spm")  # SentencePiece
TEMPLATES = re.compile(r"additional_chat_templates/[\w.-]+\.jinja")
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./+-]{0,200}", re.ASCII)
SECONDS = 10  # for the hub's answer to the first question
Get = Callable[[Sequence[str]], Path]


def is_id(source: str) -> bool:
    """Whether a text has the form of a hub id, `owner/name` or `owner/name@revision`."""
    name, at, revision = source.partition("@")
    return NAME.fullmatch(name) is not None and (not at or REVISION.fullmatch(revision) is not None)


def fetch(name: str, revision: str = "") -> Snapshot:
    """The files of a model at a revision (default: main), from the cache or the hub; InputError says why not."""
    asked, repository = revision or "main", _repository(name)
    known = recall(repository, asked) if COMMIT.fullmatch(asked) else None
    if known is not None:
        return known
    try:
        with _quiet():
            commit, published = _published(name, asked)
    except Exception as error:  # the client's own classes differ between its versions: requests, httpx, httpx2
        if not _unreachable(error):
            raise _refusal(name, asked, error) from error
        return _cached(name, asked, error)
    known = recall(repository, commit)
    if known is None:

        def get(files: Sequence[str]) -> Path:
            return _download(name, commit, files, published)

        folder, files = assemble(name, published, get)
        remember(folder, {file: published[file] for file in files})
        known = Snapshot(folder, commit, weights_of(files))
    name_revision(repository, asked, commit)
    return known


def assemble(name: str, listed: Mapping[str, object], get: Get) -> tuple[Path, list[str]]:
    """Fetch what a model needs of the files that a hub lists; the weights come last.

    get: brings files and says in which folder they stand; that folder and the names of all files are returned. What
    cannot be used is refused before anything large comes.
    """
    small = [file for file in listed if _is_small(file)]
    if CONFIG not in small and ADAPTER not in small:
        raise InputError(f'"{name}" holds no model that microtune reads: there is no {CONFIG} and no {ADAPTER} in it.')
    if ADAPTER in small:
        wanted = _listed(name, listed, [ADAPTER_WEIGHTS], ("adapter_model.bin",))
        return get([*small, *wanted]), [*small, *wanted]
    _listed(name, listed, [WEIGHTS if WEIGHTS in listed or INDEX not in listed else INDEX], PICKLES)
    folder = get(small)
    read_spec(folder)
    shards = [WEIGHTS] if WEIGHTS in listed else sorted(set(read_index(folder / INDEX).values()))
    wanted = _listed(name, listed, shards, ())
    return get(wanted), [*small, *wanted]


def _is_small(file: str) -> bool:
    ending = "/" not in file and file.endswith(SMALL_ENDINGS)
    return file in SMALL or ending or TEMPLATES.fullmatch(file) is not None


def _listed(name: str, listed: Mapping[str, object], files: list[str], pickles: Sequence[str]) -> list[str]:
    """These files, if the hub has them all."""
    missing = next((file for file in files if file not in listed), None)
    if missing is None:
        return files
    pickled = next((file for file in pickles if file in listed), None)
    if pickled is not None:
        raise InputError(
            f'"{name}" holds its weights only as {pickled}: pickled weights can run code and are not fetched; look for '
            "a revision with safetensors (name@revision), or convert them once, where you trust them, with "
            "transformers: `AutoModelForCausalLM.from_pretrained(name).save_pretrained(new_folder)`."
        )
    raise InputError(f'"{name}": the file {missing} is missing on the hub; name another revision with name@revision.')


def _repository(name: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")


def _published(name: str, asked: str) -> tuple[str, dict[str, Published]]:
    """The commit behind a revision, and what the hub says of its files."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    info = HfApi().model_info(name, revision=asked, files_metadata=True, timeout=SECONDS)
    if not COMMIT.fullmatch(info.sha or ""):
        raise ValueError("its answer names no commit")
    published = {}
    for one in info.siblings or []:
        sha256 = one.lfs.sha256 if one.lfs is not None else ""
        published[one.rfilename] = Published(one.size, sha256, "" if sha256 else one.blob_id or "")
    return str(info.sha), published


def _download(name: str, commit: str, files: Sequence[str], published: dict[str, Published]) -> Path:
    """Files into the cache; each is checked, and the folder that holds them is returned."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    for file in files:
        one = published[file]
        try:
            with _quiet():
                path = Path(hf_hub_download(name, file, revision=commit))
                if not one.sha256 and not one.blob:  # a mirror that lists names alone
                    etag = get_hf_file_metadata(hf_hub_url(name, file, revision=commit)).etag
                    one = published[file] = by_hash(etag or "", one.size)
        except Exception as error:
            raise _refusal(name, commit, error, file) from error
        check(path, file, one)
    return _repository(name) / "snapshots" / commit


def _cached(name: str, asked: str, problem: Exception) -> Snapshot:
    """What the cache holds while the hub cannot be asked."""
    from huggingface_hub import constants, try_to_load_from_cache

    known = recall(_repository(name), asked)
    if known is not None:
        return known
    offline = constants.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} cannot be reached ({first_line(problem)})"
    found = [try_to_load_from_cache(name, file, revision=asked) for file in (CONFIG, ADAPTER)]
    path = next((Path(one) for one in found if isinstance(one, str)), None)
    if path is None:
        where = f"the cache ({constants.HF_HUB_CACHE}) holds no copy of it"
        raise InputError(
            f'There is no folder "{name}" here; as a model of the hub: {reason}, and {where}; check the name, or load '
            "it once with the network."
        )
    folder, commit = path.parent, path.parent.name  # fetched by another program: whether all came, nobody wrote down
    standing = {p.relative_to(folder).as_posix(): published_by_link(p) for p in folder.rglob("*") if p.is_file()}

    def get(files: Sequence[str]) -> Path:
        for file in files:
            check(folder / file, file, standing[file])
        return folder

    try:
        _, files = assemble(name, standing, get)
    except InputError as error:
        raise InputError(f'"{name}": {reason}, and the copy in the cache cannot be used: {error}') from error
    return Snapshot(folder, commit, weights_of(files))


def _unreachable(error: Exception) -> bool:
    """Whether the hub gave no answer, or said that it is busy or broken."""
    status = _status(error)
    return not isinstance(error, ValueError) if status is None else status in (408, 429) or status >= 500


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _refusal(name: str, asked: str, error: Exception, file: str = "") -> InputError:
    """One sentence for what the client reports."""
    from huggingface_hub import constants
    from huggingface_hub.errors import RevisionNotFoundError

    hub, status = constants.ENDPOINT, _status(error)
    if isinstance(error, RevisionNotFoundError):
        return InputError(f'"{name}": {hub} has no revision "{asked}" of this model; leave it away for the newest.')
    if status == 404 and not file:
        return InputError(f'There is no folder "{name}" here and no model of this name on {hub}; check the spelling.')
    if status == 401:
        return InputError(
            f'"{name}": {hub} does not give it to you (401): there is no such public model, or it asks for a login; '
            "check the name, or log in with `hf auth login` or the variable HF_TOKEN."
        )
    if status == 403:
        return InputError(f'"{name}": {hub} does not give it to you (403); accept its conditions at {hub}/{name}.')
    if isinstance(error, ValueError) and not file:
        return InputError(f'"{name}": {hub} did not answer as a hub does ({first_line(error)}); check HF_ENDPOINT.')
    return InputError(
        f'"{name}": {file or "its list of files"} could not be downloaded from {hub} ({first_line(error)}); run the '
        "same command again, files that came whole are kept."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's own warnings about retries: what comes of them is one sentence."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
