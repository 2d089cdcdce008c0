"""What people really bring, by kind of fault: each kind has at least three cases of its own, and these are they."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FEWEST = 3  # the case that was found, and two neighbors
LABELS = "core/commands/test_labels.py"
MEANT = "test_labels_are_names_numbers_and_ranges_and_what_may_mean_two_is_refused"
READER, ARRAYS = "core/data/test_reader.py", "test_arrays_of_well_known_names_are_read_with_their_split"
LAYOUT = "test_a_layout_is_read_as_it_is_meant"
DOUBT = "test_doubt_is_a_question_that_names_its_answer_and_the_answer_ends_it"
DEVICES, ACCOUNTS = "core/jobs/test_devices.py", "core/jobs/test_accounts.py"
FOREIGN, STARTUP = "core/sampling/test_foreign_models.py", "core/test_startup.py"
KINDS: dict[str, list[tuple[str, str, str]]] = {  # (file below tests/, function, case of it or '')
    "a wrong guess about structure": [
        (READER, LAYOUT, "a split and what has no label"),
        (READER, LAYOUT, "two wrappers"),
        (READER, LAYOUT, "as in ImageNet"),
        (READER, LAYOUT, "affixes and doublings"),
        (READER, LAYOUT, "parts in capitals"),
        (READER, LAYOUT, "a train among vehicles"),
        (READER, LAYOUT, "labeled and not"),
        (READER, LAYOUT, "a split in each class"),
        (READER, DOUBT, "parts of a split without classes"),
        (READER, DOUBT, "two kinds, each in both parts"),
        (READER, "test_a_table_beside_the_images_gives_classes_and_split", "of Hugging Face, with a split"),
    ],
    "two readings of one folder": [
        (READER, "test_every_door_gives_one_answer", "leftovers"),
        (READER, "test_every_door_gives_one_answer", "one is color"),
        (READER, "test_what_pillow_opens_is_read_and_the_rest_is_said_by_kind", ""),
        ("pages/test_four_doors.py", "test_four_doors_give_one_answer", "split"),
        ("pages/test_four_doors.py", "test_four_doors_give_one_answer", "a test split of thumbnails alone"),
        ("pages/test_four_doors.py", "test_four_doors_give_one_answer", "asked"),
    ],
    "a conversion that destroys the data": [
        (READER, "test_the_range_of_the_whole_set_decides_the_bit_depth", "12 bits"),
        (READER, "test_the_range_of_the_whole_set_decides_the_bit_depth", "values 0.0 to 1.0"),
        (READER, "test_color_of_16_bits_is_read_whole", "tiff"),
        (READER, "test_a_set_without_contrast_is_a_question", "nearly black"),
    ],
    "well-known files refused": [
        (READER, ARRAYS, "MedMNIST"),
        (READER, ARRAYS, "Keras"),
        (READER, ARRAYS, "X and y"),
        (READER, ARRAYS, "FER2013's pixels"),
        (READER, ARRAYS, "IDX files, some packed"),
        (READER, ARRAYS, "Parquet"),
        (READER, "test_a_parquet_file_with_two_columns_of_classes_asks_for_one", ""),
    ],
    "one word with two meanings": [
        (LABELS, MEANT, "CAT"),
        (LABELS, MEANT, "a,b"),
        (READER, "test_classes_that_look_alike_are_said", "in how their accents"),
        (READER, "test_two_columns_that_could_be_the_class_are_a_question", ""),
        ("core/commands/test_data.py", "test_an_answer_that_is_a_number_is_a_setting_too", "2020"),
    ],
    "a variable taken for hardware": [
        (DEVICES, "test_naming_a_gpu_makes_none_where_the_machine_has_none", ""),
        (DEVICES, "test_gpus_that_pytorch_cannot_use_are_no_devices_and_auto_means_the_cpu", ""),
        (DEVICES, "test_what_names_no_gpu_ends_the_list_as_in_cuda", ""),
    ],
    "not knowing, reported as a fact": [
        (DEVICES, "test_unknown_memory_and_processes_are_shown_as_unknown_and_keep_no_run_out", ""),
        (DEVICES, "test_a_driver_that_hangs_is_not_waited_for", ""),
        (DEVICES, "test_in_a_container_our_run_is_known_by_what_the_lab_started", ""),
    ],
    "shared state with private permissions": [
        (ACCOUNTS, "test_two_accounts_share_queue_and_runs_until_one_is_removed", ""),
        (ACCOUNTS, "test_a_member_of_the_group_decides_nothing_about_a_process_of_another", ""),
        (ACCOUNTS, "test_what_takes_the_place_of_a_run_at_work_leads_its_process_nowhere", ""),
        (ACCOUNTS, "test_the_group_looks_at_a_lab_that_it_may_only_read", ""),
        ("core/test_shared_folder.py", "test_the_group_may_write_all_of_a_shared_folder", ""),
    ],
    "an error for what took effect": [
        ("core/jobs/test_service.py", "test_what_took_effect_is_no_error_where_it_cannot_be_put_on_record", "stop"),
        ("core/jobs/test_service.py", "test_what_took_effect_is_no_error_where_it_cannot_be_put_on_record", "pause"),
        ("core/jobs/test_service.py", "test_what_took_effect_is_no_error_where_it_cannot_be_put_on_record", "move"),
    ],
    "a library's defaults are not ours": [
        (FOREIGN, "test_a_folder_of_others_draws_what_diffusers_draws", ""),
        (FOREIGN, "test_other_samplers_follow_the_betas_of_the_file", ""),
        (FOREIGN, "test_missing_keys_are_filled_as_diffusers_fills_them", ""),
    ],
    "a failure that does not name itself": [
        (STARTUP, "test_without_packages_every_entry_ends_with_one_sentence", ""),
        (STARTUP, "test_an_old_python_is_named_by_every_entry", "streamlit run"),
        (READER, "test_files_of_other_kinds_are_named_with_what_helps", "flowers.7z"),
        (STARTUP, "test_a_locale_that_is_not_utf8_is_named_before_a_path_fails", ""),
        ("core/commands/test_foreign_bytes.py", "test_it_costs_one_sentence_that_names_it", ""),
        ("browser/test_chart.py", "test_one_wild_loss_leaves_the_tab_alive", "1e300"),
    ],
}


@functools.cache
def functions_of(path: str) -> dict[str, str]:
    """The tests of a file, each with the text of the file, where its cases stand."""
    text = (ROOT / "tests" / path).read_text()
    return {node.name: text for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_case_that_was_found_and_two_neighbors(kind: str) -> None:
    cases = KINDS[kind]
    assert len(set(cases)) == len(cases) >= FEWEST
    for path, function, case in cases:
        assert function in functions_of(path), f"{path} has no {function}"
        assert case in functions_of(path)[function], f"{path} has no case '{case}'"
