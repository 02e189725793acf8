"""Errors to plant in a copy of the package, each with the law that has to find it."""

from typing import NamedTuple

__all__ = ["LAWS", "MUTANTS", "Mutant"]

ORDER, SEEDING = "tests/test_order.py", "tests/test_seeding.py"
LOADER = "tests/laws/test_loader_laws.py"
DEALING = "tests/test_dealing.py"
ONCE = "tests/laws/test_exactly_once.py"
PIXELS = "tests/laws/test_exactly_once_pixels.py"
LAWS = (ORDER, SEEDING, LOADER, DEALING, ONCE, PIXELS)


class Mutant(NamedTuple):
    """One error in one file, and the law that has to find it."""

    name: str
    file: str
    text: str
    """Stands in the file exactly once."""

    error: str
    """Is planted instead."""

    law: str


MUTANTS = [
    Mutant(
        "the short unit is cut off its own lane",
        "plan.py",
        "(short if lane > last else 0)",
        "(short if lane >= last else 0)",
        f"{ORDER}::test_lanes_are_cut_in_whole_units_and_the_lane_dealt_last_has_the_short_one",
    ),
    Mutant(
        "lanes start one unit late",
        "plan.py",
        "min(lane, rest)",
        "min(lane, rest + 1)",
        f"{ORDER}::test_lanes_are_cut_in_whole_units_and_the_lane_dealt_last_has_the_short_one",
    ),
    Mutant(
        "units are dealt to one lane less",
        "order.py",
        "divmod(unit, len(self._starts) - 1)",
        "divmod(unit, max(1, len(self._starts) - 2))",
        f"{ORDER}::test_units_are_dealt_to_the_lanes_in_turn",
    ),
    Mutant(
        "windows are not even",
        "order.py",
        "return -(-size // windows)",
        "return self._plan.window",
        f"{ORDER}::test_windows_of_a_lane_are_even",
    ),
    Mutant(
        "every epoch shuffles the windows alike",
        "order.py",
        "words = (_WINDOW, self._seed, self._epoch, lane, start)",
        "words = (_WINDOW, self._seed, 0, lane, start)",
        f"{ORDER}::test_every_epoch_and_every_seed_shuffles_the_windows_anew",
    ),
    Mutant(
        "every epoch permutes the shards alike",
        "order.py",
        "_hashes(shards, _SHARDS, plan.seed, epoch)",
        "_hashes(shards, _SHARDS, plan.seed, 0)",
        f"{ORDER}::test_every_epoch_and_every_seed_permutes_the_shards_anew",
    ),
    Mutant(
        "rows of a rank are rounded down",
        "sharing.py",
        "rows = -(-(last - first) // world_size)",
        "rows = (last - first) // world_size",
        f"{ORDER}::test_every_rank_has_equal_rows_and_the_padding_fills_them_up",
    ),
    Mutant(
        "ranks are served in reverse",
        "sharing.py",
        "low = min(first + rank * rows, last)",
        "low = min(first + (world_size - 1 - rank) * rows, last)",
        f"{ORDER}::test_every_rank_has_equal_rows_and_the_padding_fills_them_up",
    ),
    Mutant(
        "batches are counted from 0 after a resume",
        "sharing.py",
        "first = start + k * global_batch",
        "first = start - start % global_batch + k * global_batch",
        f"{ORDER}::test_the_stream_is_the_same_for_any_ranks_workers_batch_size_and_resume",
    ),
    Mutant(
        "a second visit draws as the first",
        "seeding.py",
        "_WORDS.pack(seed, epoch, uid, visit, view)",
        "_WORDS.pack(seed, epoch, uid, 0, view)",
        f"{SEEDING}::test_a_change_of_any_argument_changes_the_key",
    ),
    Mutant(
        "a unit draws alike in every epoch",
        "seeding.py",
        "return key(seed, epoch, unit, 0, 0,",
        "return key(seed, 0, unit, 0, 0,",
        f"{SEEDING}::test_a_change_of_any_argument_changes_the_key_of_a_unit",
    ),
    Mutant(
        "half a drawn word is found by the next sample",
        "seeding.py",
        "self._bits.state = self._state",
        'self._bits.state = {**self._bits.state, "state": self._words}',
        f"{SEEDING}::test_a_key_gives_the_same_draws_whatever_was_drawn_before",
    ),
    Mutant(
        "half a gaussian pair is found by the next sample",
        "seeding.py",
        "self.python.gauss_next = None",
        "self.python.gauss_next  # type",
        f"{SEEDING}::test_a_key_gives_the_same_draws_whatever_was_drawn_before",
    ),
    Mutant(
        "our workers are told epoch 0",
        "loader.py",
        "self._requests(self._epoch, self._position)",
        "self._requests(0, self._position)",
        f"{LOADER}::test_every_epoch_reaches_the_workers[persistent-ours]",
    ),
    Mutant(
        "set_epoch does not reach torch's persistent workers",
        "passes.py",
        "words.share_memory_()",
        "words",
        f"{LOADER}::test_every_epoch_reaches_the_workers[persistent-plain]",
    ),
    Mutant(
        "a resumed pass repeats a batch",
        "loader.py",
        "self._note_end(message.end)",
        "self._note_end(message.end - len(message.keys))",
        f"{LOADER}::test_resumed_after_any_batch_the_rest_is_the_uninterrupted_rest[ours]",
    ),
    Mutant(
        "a resumed pass of torch's loader leaves a batch out",
        "passes.py",
        "first = start + k * size",
        "first = start + (k + (start > 0)) * size",
        f"{LOADER}::test_resumed_after_any_batch_the_rest_is_the_uninterrupted_rest[plain]",
    ),
    Mutant(
        "the position counts padding",
        "loader.py",
        "self._note_end(message.end)",
        "self._note_end(self._position + len(message.keys) * self.world_size)",
        f"{LOADER}::test_the_state_counts_samples_of_all_ranks_and_no_padding",
    ),
    Mutant(
        "the log counts padding",
        "loader.py",
        "for t, pad in zip(lines, pads, strict=True) if not pad)",
        "for t, pad in zip(lines, pads, strict=True))",
        f"{LOADER}::test_the_log_of_all_ranks_holds_every_position_once_and_no_padding",
    ),
    Mutant(
        "padding is not flagged",
        "transport.py",
        "engine.deliver(request.epoch, end - 1, pad=True)",
        "engine.deliver(request.epoch, end - 1, pad=False)",
        f"{LOADER}::test_ranks_joined_again_are_one_rank_and_padding_is_flagged",
    ),
    Mutant(
        "ranks overlap by a row",
        "sharing.py",
        "high = min(low + rows, last)",
        "high = min(low + rows + 1, last)",
        f"{ONCE}::test_all_ranks_make_equal_steps_and_no_turn_comes_twice_or_is_lost",
    ),
    Mutant(
        "the tail of an epoch is lost without drop_last",
        "sharing.py",
        "if drop_last else -(-left // global_batch)",
        "if drop_last else left // global_batch",
        f"{ONCE}::test_all_ranks_make_equal_steps_and_no_turn_comes_twice_or_is_lost",
    ),
    Mutant(
        "drop_last drops a full batch",
        "sharing.py",
        "return left // global_batch if drop_last",
        "return (left - 1) // global_batch if drop_last",
        f"{ONCE}::test_all_ranks_make_equal_steps_and_no_turn_comes_twice_or_is_lost",
    ),
    Mutant(
        "a worker begins one batch late",
        "sharing.py",
        "range(worker, total, workers)",
        "range(worker + (worker > 1), total, workers)",
        f"{ONCE}::test_cut_anywhere_and_resumed_by_others_the_stream_is_the_unbroken_one",
    ),
    Mutant(
        "a window is not wholly permuted",
        "order.py",
        "place = start + int(order[position - start])",
        "place = start + int(order[max(1, position - start)])",
        f"{ORDER}::test_without_an_index_too_positions_and_samples_are_a_bijection",
    ),
    Mutant(
        "augmentation draws alike in every epoch",
        "making.py",
        "partial(key, seed, deal.epoch, read.uid",
        "partial(key, seed, 0, read.uid",
        f"{PIXELS}::test_with_broken_samples_too_every_position_comes_once_and_no_pixels_twice[balance]",
    ),
    Mutant(
        "augmentation of a sample follows its number alone",
        "seeding.py",
        "self._start = _uid_hash(source, shard)",
        'self._start = _uid_hash(source, "")',
        f"{ONCE}::test_the_next_epoch_has_another_order_and_other_seeds",
    ),
    Mutant(
        "augmentation depends on what was read before",
        "making.py",
        "            uid = self.uid(shard, index)\n",
        "            uid = self.uid(shard, index) + len(self._uids)\n",
        f"{PIXELS}::test_resumed_before_or_after_iter_by_workers_the_rest_follows[5-whole]",
    ),
    Mutant(
        "a state without its plan is taken",
        "state.py",
        "if plan.get(name) != here.get(name)",
        'if name == "counts" and plan.get(name) != here.get(name)',
        f"{PIXELS}::test_a_state_is_short_json_and_another_run_refuses_it_by_name[whole]",
    ),
    Mutant(
        "every attempt draws the same stand-in",
        "order.py",
        "hash64(_STAND_IN, plan.seed, epoch, position, attempt)",
        "hash64(_STAND_IN, plan.seed, epoch, position)",
        f"{ORDER}::test_attempts_positions_and_epochs_choose_different_stand_ins",
    ),
    Mutant(
        "every virtual epoch begins with the set's first pass",
        "order.py",
        "self._first = epoch * plan.n",
        "self._first = 0",
        f"{ONCE}::test_epochs_of_any_size_laid_end_to_end_are_passes_of_the_set",
    ),
    Mutant(
        "a second pass within an epoch draws as the first",
        "order.py",
        "return self._pass(position)[2]",
        "return 0",
        f"{ONCE}::test_all_ranks_make_equal_steps_and_no_turn_comes_twice_or_is_lost",
    ),
    Mutant(
        "repeats of a balance draw alike",
        "engine.py",
        "visit += again",
        "visit += 0",
        f"{PIXELS}::test_with_broken_samples_too_every_position_comes_once_and_no_pixels_twice[balance]",
    ),
    Mutant(
        "a balance deals the same samples in every epoch",
        "dealing.py",
        "epoch * m * self.unit % n",
        "0 * m * self.unit % n",
        f"{DEALING}::test_in_as_many_epochs_as_a_class_has_samples_each_is_dealt_equally",
    ),
    Mutant(
        "smallest remainders are raised",
        "dealing.py",
        "key=lambda i: parts[i] - shares[i]",
        "key=lambda i: shares[i] - parts[i]",
        f"{DEALING}::test_remainders_are_exact_where_floats_are_not",
    ),
    Mutant(
        "a subset is drawn by the seed",
        "planning.py",
        'options |= {"subset": selection.name}',
        'select.__globals__["_FRACTION"] = options["seed"]',
        f"{ONCE}::test_a_part_does_not_depend_on_the_seed_and_lies_within_a_larger_one",
    ),
    Mutant(
        "a subset is drawn by the size of the part",
        "selecting.py",
        'words = (_FRACTION, int.from_bytes(name, "little"))',
        'words = (_FRACTION, int.from_bytes(name, "little"), self.counts[shard])',
        f"{ONCE}::test_a_part_does_not_depend_on_the_seed_and_lies_within_a_larger_one",
    ),
]
