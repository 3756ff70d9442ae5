"""`adapter_config.json` of PEFT: the options of a LoRA that we compute exactly, and a refusal for all others.

Which modules an option selects follows PEFT's own rules (`check_target_module_exists`, `get_pattern_key`). Regular
expressions come from files, so those that could run for hours are refused before they are tried.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from microtune.errors import InputError
from microtune.recipe import validated
from microtune.run.peft.foreign import refuse_schema

# These say nothing about what the adapter computes, or only how it was initialised with the base left as it is.
HARMLESS = (
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "init_ia3_weights",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
)
INITIALISATIONS = (True, False, "gaussian", "eva", "orthogonal")  # the others change the base weights
TASK_TYPES = ("CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", "FEATURE_EXTRACTION", None)
PATTERN_CHARACTERS, PATTERN_REPEATS = 2000, 6

Rank = Annotated[int, Field(ge=1, le=2**16)]
Alpha = Annotated[float, Field(allow_inf_nan=False)]
Names = list[str] | str


class AdapterConfig(BaseModel):
    """The fields of a LoRA, plain, rank-stabilised or weight-decomposed (DoRA), and those of an IA3."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: str
    base_model_name_or_path: str | None = None
    revision: str | None = None
    task_type: str | None = None
    r: Rank = 8
    lora_alpha: Alpha = 8.0
    target_modules: Names
    feedforward_modules: Names = []  # of IA3: those whose input is multiplied
    exclude_modules: Names = []
    rank_pattern: dict[str, Rank] = {}
    alpha_pattern: dict[str, Alpha] = {}
    layers_to_transform: list[int] | int | None = None
    layers_pattern: Names = []
    modules_to_save: list[str] = []
    use_rslora: bool = False
    use_dora: bool = False
    bias: Literal["none"] | str = "none"
    init_lora_weights: bool | str = True

    def targets(self, module: str) -> bool:
        """Whether PEFT puts an update on the module of this full name."""
        exclude = self.exclude_modules
        if isinstance(exclude, str) and exclude:
            if re.fullmatch(exclude, module):
                return False
        elif _ends_with(module, exclude):
            return False
        if any(f".{name}." in f".{module}." for name in self.modules_to_save):
            return False
        if isinstance(self.target_modules, str):
            everything = self.target_modules.lower() == "all-linear"
            return everything or re.fullmatch(self.target_modules, module) is not None
        if module in self.target_modules:
            return True
        return _ends_with(module, self.target_modules) and self._in_layers(module)

    def rank(self, module: str) -> int:
        """Rank of a module's update."""
        return self.rank_pattern.get(_pattern_key(self.rank_pattern, module), self.r)

    def scale(self, module: str) -> float:
        """What multiplies B A: alpha / r, or alpha / sqrt(r) (rank-stabilised: Kalajdzievski, 2023)."""
        alpha, rank = (
            self.alpha_pattern.get(_pattern_key(self.alpha_pattern, module), self.lora_alpha),
            self.rank(module),
        )
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def _in_layers(self, module: str) -> bool:
        layers = self.layers_to_transform
        if layers is None or layers == []:
            return True
        patterns = [self.layers_pattern] if isinstance(self.layers_pattern, str) else self.layers_pattern
        if not [name for name in patterns if name]:
            match = re.match(r".*?\.[^.]*\.(?P<index>\d+)\.", module)
        else:
            found = (re.match(rf"(?:^|.*?\.){name}\.(?P<index>\d+)\.", module) for name in patterns)
            match = next((one for one in found if one is not None), None)
        return match is not None and int(match["index"]) in ([layers] if isinstance(layers, int) else layers)


def adapter_config(values: Mapping[str, Any], path: Path) -> AdapterConfig:
    """Check the contents of an `adapter_config.json`; an option that would change the result is an InputError."""
    refuse_schema(values, path)
    given = {key: value for key, value in values.items() if value is not None}
    if not given.get("target_modules"):
        raise InputError(
            f"{path}: target_modules is empty, so it is not known what is adapted; save the adapter again."
        )
    config = validated(AdapterConfig, given, str(path))
    for key, value in (config.model_extra or {}).items():
        if value and key not in HARMLESS:
            raise InputError(
                f'{path}: the option "{key}" is not supported; merge the adapter with peft and load the result.'
            )
    if config.bias != "none":
        raise InputError(
            f'{path}: bias "{config.bias[:40]}" is not supported; only "none" is. Merge the adapter with peft.'
        )
    if config.init_lora_weights not in INITIALISATIONS:
        started = f'init_lora_weights "{str(config.init_lora_weights)[:40]}"'
        raise InputError(
            f"{path}: {started} changes the base weights, which this file does not hold; convert it with peft."
        )
    if config.task_type not in TASK_TYPES:
        known = ", ".join(name for name in TASK_TYPES if name)
        raise InputError(f'{path}: task_type "{str(config.task_type)[:40]}" is not supported; known are {known}.')
    _check_patterns(config, path)
    return config


def _check_patterns(config: AdapterConfig, path: Path) -> None:
    """Regular expressions that repeat a group, or repeat often, can take exponential time."""
    choices = (config.target_modules, config.exclude_modules, config.feedforward_modules)
    single = [text for text in choices if isinstance(text, str)]
    layers = [config.layers_pattern] if isinstance(config.layers_pattern, str) else config.layers_pattern
    for text in (*single, *layers, *config.rank_pattern, *config.alpha_pattern):
        repeats = len(re.findall(r"(?<!\\)[*+{]", text))
        if len(text) > PATTERN_CHARACTERS or repeats > PATTERN_REPEATS or re.search(r"(?<!\\)\)[*+{]", text):
            raise InputError(
                f'{path}: the pattern "{text[:60]}" is too complicated; list the names of the modules instead.'
            )
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f'{path}: "{text[:60]}" is not a regular expression ({error}).') from None


def _ends_with(module: str, names: Names) -> bool:
    listed = [names] if isinstance(names, str) and names else names
    return any(module == name or module.endswith(f".{name}") for name in listed)


def _pattern_key(patterns: Mapping[str, Any], module: str) -> str:
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)
