"""One batch, many adapters: each row is computed with its own, in one pass over the shared base.

Low-rank updates and heads mix (nn/grouped.py). What else an adapter may change (biases, norms, whole blocks) does not:
its rows are computed in a pass of their own, so that every answer is right, and one row costs what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from microtune.adapt.base import set_module
from microtune.adapt.patch import SharedNetwork
from microtune.data.batches import Item, collate, headed, in_order, item_sizes
from microtune.errors import InputError
from microtune.nn.grouped import GroupedLinear, Turns, stream_of
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache
from microtune.ragged import Ragged
from microtune.run.batched import Question, generate_many
from microtune.run.evaluate import EVALUATION_TOKENS
from microtune.run.load import Model
from microtune.run.onto import Adapter
from microtune.run.pieces import whole_characters
from microtune.run.predict import UNSURE, asked_ids, predict, task_of, text_rows, written_as
from microtune.run.prepare import items_limit
from microtune.tasks.base import Prediction
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction
from microtune.tasks.language_modelling import LanguageModelling

Owners = Sequence[str | None]  # the adapter of each row; None: the base as it is


class Mixed:
    """The shared network with the updates of all adapters that mix beside its weights."""

    def __init__(self, base: Model, shared: SharedNetwork, adapters: Mapping[str, Adapter]) -> None:
        self.base, self.shared, self.adapters = base, shared, dict(adapters)
        self.turns = Turns()
        roles: dict[str, dict[str, Adapter]] = {}
        for name, adapter in self.adapters.items():
            for role in adapter.parts if adapter.mixes else ():
                roles.setdefault(role, {})[name] = adapter
        with shared.drawn() as picture:
            for role, users in roles.items():
                parts = {name: adapter.parts[role] for name, adapter in users.items()}
                linear = shared.network.get_submodule(role)
                stream = stream_of(role, shared.network.spec)
                set_module(shared.network, role, GroupedLinear(linear, parts, self.turns, stream).eval())
            self.patch = picture.patch()

    def hidden(
        self,
        owners: Owners,
        inputs: Ragged,
        *,
        readout: Tensor | None = None,
        sources: Ragged | None = None,
        types: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """`Transformer.forward` with the update of each row's owner."""
        with self.shared.wearing(self.patch) as network, self.turns.during(owners, inputs, readout, sources):
            found: Tensor = network(inputs, readout=readout, sources=sources, types=types, cache=cache)
        return found

    def apart(self, owners: Owners) -> dict[str | None, list[int]]:
        """Rows that need a pass of their own, by adapter."""
        found: dict[str | None, list[int]] = {}
        for row, name in enumerate(owners):
            if name is not None and not self.adapters[name].mixes:
                found.setdefault(name, []).append(row)
        return found

    @torch.inference_mode()
    def logits(
        self, ids: Sequence[Sequence[int]], owners: Owners, targets: Sequence[Sequence[int]] | None
    ) -> list[Tensor]:
        """Scores `[T_i, V]` of every row, as `Model.logits` gives them with each row's adapter."""
        found: dict[int, Tensor] = {}
        apart = self.apart(owners)
        together = [i for i, name in enumerate(owners) if name not in apart]
        together.sort(key=lambda i: owners[i] or "")  # tokens of an owner end to end
        for name, rows in apart.items():
            with self.worn(name) as model:
                given = None if targets is None else [targets[i] for i in rows]
                found |= dict(zip(rows, model.logits([ids[i] for i in rows], given), strict=True))
        if together:
            whose = [owners[i] for i in together]
            heads = [self.vocabulary_head(name) for name in whose]
            given = None if targets is None else [targets[i] for i in together]
            rows_of = Ragged.from_lists(self.base.checked([ids[i] for i in together])).to(self.device)
            inputs = rows_of if given is None else Ragged.from_lists(self.base.checked(given)).to(self.device)
            sources = None if given is None else rows_of
            hidden = self.hidden(whose, inputs, sources=sources).split(inputs.lengths.tolist())
            found |= {i: head(part) for i, head, part in zip(together, heads, hidden, strict=True)}
        return [found[i] for i in range(len(ids))]

    @contextmanager
    def worn(self, name: str | None) -> Iterator[Model]:
        """The model of one adapter, while that adapter lies alone on the network."""
        with self.shared.wearing(None if name is None else self.adapters[name].patch):
            yield self.model(name)

    def vocabulary_head(self, name: str | None) -> VocabularyHead:
        """The head that scores tokens with this adapter."""
        with self.worn(name) as model:
            return model.vocabulary_head()

    def predict(
        self, texts: Sequence[str], owners: Sequence[str], *, min_confidence: float, max_new_tokens: int
    ) -> list[Prediction]:
        """One Prediction per text, by the task of its adapter."""
        found: dict[int, Prediction] = {}
        labelled: list[tuple[str, Item]] = []
        asked: list[int] = []
        alone = len(set(owners)) == 1  # bit for bit what the adapter gives without the others
        for name in dict.fromkeys(owners):
            rows, adapter = [i for i, owner in enumerate(owners) if owner == name], self.adapters[name]
            task = task_of(adapter.model)
            labels = isinstance(task, Classification)
            greedy = isinstance(task, (Instruction, LanguageModelling)) and written_as(task, None).is_plain
            mixes = adapter.mixes and (labels or (greedy and not self.base.is_encoder_decoder))
            if alone or not mixes:
                given = text_rows(task, [texts[i] for i in rows])
                options = {"min_confidence": min_confidence, "max_new_tokens": max_new_tokens}
                with self.worn(name) as model:
                    answers = list(predict(model, given, **options))  # type: ignore[arg-type]
                found |= {rows[p.row]: replace(p, row=rows[p.row]) for p in answers}
            elif labels:
                labelled += [(name, item) for item in self._items(adapter, texts, rows)]
            else:
                asked += rows
        if asked and min_confidence:
            raise InputError("min_confidence is for classifiers; the answers of other adapters have no confidence.")
        for p in self._labels(labelled):
            found[p.row] = p if p.confidence >= min_confidence else replace(p, answer=UNSURE)
        found |= self._answers(texts, owners, asked, max_new_tokens)
        return [found[i] for i in range(len(texts))]

    def _items(self, adapter: Adapter, texts: Sequence[str], rows: Sequence[int]) -> list[Item]:
        """The texts of one adapter as items of its task, numbered as in the whole batch."""
        model, task = adapter.model, task_of(adapter.model).unlabelled()
        limit = items_limit(model, None, 0)
        given = task.ready(text_rows(task, [texts[i] for i in rows]), answers=False)
        encoded = task.encode_all(given, model.text, limit, training=False)
        items = [encoded.items[i] for i in range(len(encoded.items))]
        return [replace(item, row=rows[item.row]) for item in items]

    @torch.inference_mode()
    def _labels(self, labelled: Sequence[tuple[str, Item]]) -> list[Prediction]:
        """What the heads say of items of several adapters."""
        found: list[Prediction] = []
        for piece in in_order(item_sizes([item for _, item in labelled]), EVALUATION_TOKENS):
            chosen = sorted((labelled[i] for i in piece), key=lambda pair: pair[0])  # tokens of an owner end to end
            owners, items = [name for name, _ in chosen], [item for _, item in chosen]
            batch = collate(items).to(self.device)
            hidden = self.hidden(
                owners, batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types
            ).split(batch.counts.tolist())
            for name in dict.fromkeys(owners):
                own = [i for i, owner in enumerate(owners) if owner == name]
                adapter, part = self.adapters[name], headed([items[i] for i in own]).to(self.device)
                states = torch.cat([hidden[i] for i in own])
                found += task_of(adapter.model).decode(adapter.head, states, part)
        return found

    def _answers(
        self, texts: Sequence[str], owners: Sequence[str], rows: Sequence[int], max_new_tokens: int
    ) -> dict[int, Prediction]:
        """The generated answers of these rows."""
        prompts = []
        for i in rows:
            model = self.adapters[owners[i]].model
            task = task_of(model)
            given = task.ready(text_rows(task, [texts[i]]), answers=False)
            prompts.append(asked_ids(model, task, given[0]))
        found = self.continued(prompts, [owners[i] for i in rows], max_new_tokens)
        return {i: Prediction(text, 1.0, row=i) for i, text in zip(rows, found, strict=True)}

    def generate(self, prompts: Sequence[str], owners: Owners, max_new_tokens: int) -> list[str]:
        """The likeliest continuation of each prompt."""
        apart = self.apart(owners)
        found: dict[int, str] = {}
        for i, name in enumerate(owners):
            if self.base.is_encoder_decoder or name in apart:
                with self.worn(name) as model:
                    found[i] = model.generate(prompts[i], max_new_tokens=max_new_tokens)
        rest = [i for i in range(len(prompts)) if i not in found]
        ids = [self.model(owners[i]).prompt_ids(prompts[i]) for i in rest]
        found |= dict(zip(rest, self.continued(ids, [owners[i] for i in rest], max_new_tokens), strict=True))
        return [found[i] for i in range(len(prompts))]

    def continued(self, prompts: Sequence[Sequence[int]], owners: Owners, max_new_tokens: int) -> list[str]:
        """The text that each row of ids goes on with."""
        new = self.continued_ids(prompts, owners, max_new_tokens) if len(prompts) else []
        return ["".join(whole_characters(ids, self.model(name).text)) for ids, name in zip(new, owners, strict=True)]

    def continued_ids(self, prompts: Sequence[Sequence[int]], owners: Owners, max_new_tokens: int) -> list[list[int]]:
        """The likeliest new ids after each prompt of a decoder, up to a stop id; a row that is done costs nothing."""
        limit, ids = self.base.spec.max_positions, self.base.checked(prompts)
        full = next((row for row in ids if limit is not None and len(row) >= limit), None)
        if full is not None:
            raise InputError(f"The prompt has {len(full)} tokens, but the model has {limit} positions.")
        heads = [self.vocabulary_head(name) for name in owners]

        def read(
            inputs: Ragged,
            ends: Tensor,
            cache: Cache,
            sources: Ragged | None,
            *,
            questions: Sequence[int],
            live: Sequence[int],
        ) -> Tensor:
            states = self.hidden([owners[i] for i in questions], inputs, readout=ends, cache=cache)
            return _scores([heads[questions[place]] for place in live], states)

        found = generate_many(
            self.base.network,
            [Question(row, stops=self.model(name).text.stop_ids) for row, name in zip(ids, owners, strict=True)],
            max_new_tokens=max_new_tokens,
            stop_ids=(),
            reader=read,
        )
        new = dict(found)
        return [new[i] for i in range(len(ids))]

    @property
    def device(self) -> torch.device:
        """Where the base stands."""
        return next(self.shared.network.parameters()).device

    def model(self, name: str | None) -> Model:
        """What answers with this adapter; computes it only while its patch lies on the network."""
        return self.base if name is None else self.adapters[name].model


def _scores(heads: Sequence[VocabularyHead], states: Tensor) -> Tensor:
    """What each row's head says of its state `[R, D]`: `[R, V]`; rows with one head pass it together."""
    found: dict[int, Tensor] = {}
    for head in dict.fromkeys(heads):
        rows = [i for i, own in enumerate(heads) if own is head]
        found |= dict(zip(rows, head(states[rows]), strict=True))
    return torch.stack([found[i] for i in range(len(heads))])
