"""What a record may hold is said twice: as types for us, as tests of what was read."""

from typing import get_type_hints

from calib_sweep.results import record, schema


def test_every_field_of_a_record_is_typed_and_checked():
    checked = {path for path in schema.KINDS if "." not in path} | {"schema"}
    assert checked == set(get_type_hints(record.Record))


def test_every_checked_field_of_a_section_is_typed():
    sections = {
        "cell": record.CellNames,
        "calibration": record.CalibrationNote,
        "compression": record.CompressionNote,
        "environment": record.Environment,
        "error": record.ErrorNote,
    }
    for path in (path.split(".") for path in schema.KINDS if "." in path):
        assert path[1] in get_type_hints(sections[path[0]]), path
