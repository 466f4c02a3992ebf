# SPDX-License-Identifier: Apache-2.0
from src.config import load_config
from src.preprocessing.job_settings import Request


def test_a_schema_that_changes_during_the_work_does_not_change_what_is_recorded(tmp_path):
    schema, log = tmp_path / "schema.yaml", tmp_path / "log.csv"
    schema.write_text("label: click\ncategories: [site]\nheader: true\n")
    log.write_text("click,site\n1,a\n")
    request = Request.of(load_config([f"--data_path={log}", f"--schema_path={schema}"]))
    before = request.result_settings
    schema.unlink()
    assert request.result_settings == before
    assert before["schema"]["categories"] == ["site"]
    assert request.output_path == tmp_path / "mindrecord"
