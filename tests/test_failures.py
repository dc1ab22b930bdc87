"""How text and tokenizers fail, one row each, and the tests that know the right count, the right line and the words.

D01 bytes that are no UTF-8
    | test_text::test_bad_utf8_is_named_by_file_line_offset_and_bytes
    | test_text::test_utf16_and_utf32_are_named
    | test_formats::test_bad_utf8_stops_skips_the_pair_or_is_replaced
D02 parallel files of different length
    | test_corpus::test_unequal_line_counts_name_both_and_the_first_missing_line
    | test_corpus::test_a_last_line_without_newline_counts
    | test_formats::test_unequal_line_counts
D03 empty lines, empty files, no usable pair
    | test_corpus::test_empty_sides_are_skipped_and_counted_with_their_first_places
    | test_corpus::test_no_usable_pair_is_an_error_with_the_counts
    | test_runtime_command_line::test_the_number_of_lines_is_kept
    | test_prepare::test_nothing_left_to_train_with
D04 NUL and control characters within a line
    | test_text::test_only_lf_separates_and_controls_are_counted
    | test_cleaning::test_what_goes_and_what_stays
D05 byte order marks
    | test_text::test_byte_order_mark_is_dropped_at_the_start_only
    | test_corpus::test_byte_order_marks_and_line_ends_of_windows_are_dropped_and_counted
D06 CR LF, and CR alone
    | test_text::test_one_carriage_return_before_lf_is_dropped
D07 characters that other programs take for line ends
    | test_text::test_write_then_read_gives_the_same_lines
    | test_corpus::test_only_lf_separates_lines_in_every_kind_of_file
    | test_formats::test_every_format_gives_the_same_rows
D08 a line without end
    | test_text::test_a_line_without_end_takes_no_memory
    | test_corpus::test_lines_over_the_byte_limit_are_skipped_and_counted_on_both_sides
    | test_formats::test_lines_over_the_limit_are_dropped_on_both_sides
    | test_prepare::test_tags_and_lengths
D09 duplicates, and training text that is held out too
    | test_corpus::test_a_planted_overlap_is_counted_with_its_first_places
    | test_prepare::test_given_test_text_is_kept_whole_and_its_overlap_is_counted
    | test_prepare::test_duplicates_across_corpora
D10 sides that are shifted against each other
    | test_alignment_check::test_synthetic_text
    | test_alignment_check::test_real_text
    | test_prepare::test_sides_that_are_shifted_are_warned_of
    | test_material::test_shifted_files_are_warned_of
D11 packed files that are cut, damaged or called by another name
    | test_corpus::test_a_cut_gzip_file_is_found_at_every_length
    | test_corpus::test_a_flipped_byte_of_a_gzip_check_sum_is_found
    | test_text::test_gzip_members_padding_and_garbage
    | test_text::test_gzip_is_known_by_its_first_bytes
    | test_formats::test_cut_and_damaged_files_name_the_last_good_line
    | test_prepare::test_a_cut_file_is_found_before_the_work_begins
D12 files that change between two starts
    | test_corpus::test_fingerprints_are_stable_and_name_the_file_that_changed
    | test_prepare::test_inputs_that_changed
    | test_prepare::test_a_file_that_changes_while_it_is_read
    | test_material::test_moved_text_goes_on_and_changed_text_only_when_told_to
D13 texts that look like control symbols
    | test_vocab::test_no_text_makes_a_control_id
    | test_huggingface_vocab::test_special_texts_are_ordinary
    | test_sentencepiece_vocab::test_same_ids_as_sentencepiece
D14 folders, pipes, links, files without permission
    | test_text::test_things_that_are_no_files
    | test_text::test_pipe_and_standard_input
    | test_corpus::test_what_is_no_readable_file_is_named
    | test_formats::test_what_is_no_file
    | test_prepare::test_a_pipe_is_read_once
D15 columns too many or too few, broken JSON and CSV
    | test_corpus::test_other_than_two_columns_are_refused_with_their_line
    | test_formats::test_other_columns_are_named_or_skipped
    | test_formats::test_bad_lines_of_json
    | test_formats::test_mistakes_in_csv
D16 a disk that fills up
    | test_prepare::test_ended_at_any_write_and_gone_on_with
    | test_prepare::test_a_full_disk_for_real
    | test_store::test_writing_that_is_interrupted_leaves_no_store
T01 damaged vocabulary files
    | test_vocab::test_every_cut_and_every_changed_byte
    | test_vocab::test_broken_documents
    | test_foreign::test_damaged_vocabularies_of_ours
    | test_foreign::test_damaged_tokenizers
T02 the vocabulary of another model
    | test_model_folder::test_files_of_two_models
    | test_model_folder::test_a_vocabulary_of_another_size
    | test_store::test_ids_of_other_vocabularies_are_refused
    | test_material::test_a_damaged_folder_is_refused_before_training
T03 texts and merges that take for ever
    | test_subword_merges::test_long_words_are_fast_enough
    | test_unigram::test_time_is_in_step_with_the_text
    | test_sentencepiece_vocab::test_time_is_in_step_with_the_text
    | test_huggingface_vocab::test_time_is_in_step_with_the_text
    | test_huggingface_vocab::test_a_text_that_grows_without_end_is_refused
T04 hostile models of other programs, which are read in plain Python alone
    | test_sentencepiece_vocab::test_any_bytes
    | test_sentencepiece_vocab::test_every_cut_and_every_changed_byte
    | test_sentencepiece_vocab::test_maps_of_characters_that_go_round_in_circles
T05 every text there is
    | test_subwords::test_every_text_comes_back
    | test_unigram::test_every_text_comes_back
    | test_huggingface_vocab::test_bytes_bring_every_text_back
T06 training that is not repeatable
    | test_subwords::test_training_is_repeatable_and_silent
    | test_unigram::test_same_bytes_for_any_hash_seed
T07 paths that lead out of their folder
    | test_archive::test_paths_outside
    | test_archive::test_links
    | test_model_folder::test_a_manifest_that_leaves_a_file_out
"""

import pytest

from listed_tests import absent, rows_of

ROWS = rows_of(__doc__ or "", "D", "T0")


def test_every_row_is_there() -> None:
    assert list(ROWS) == [*(f"D{number:02}" for number in range(1, 17)), *(f"T{number:02}" for number in range(1, 8))]


@pytest.mark.parametrize("row", ROWS)
def test_its_tests_are_there(row: str) -> None:
    assert not absent(ROWS[row])
