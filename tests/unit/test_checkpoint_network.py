# SPDX-License-Identifier: Apache-2.0
import dataclasses

from src.dataset_meta import DatasetMeta
from src.evaluation.recalibration import Method, Recalibration
from src.evaluation.record import EvaluationRecord
from src.package import load_model
from tests.checkpoints import save_random_checkpoint

PLATT = Recalibration(Method.PLATT, (-1.0, 1.0), (-2.0, 1.5))


def test_every_recalibration_of_a_checkpoint_has_a_digest_of_its_own(dataset, tmp_path, cpu):
    checkpoint = save_random_checkpoint(tmp_path / "checkpoint", DatasetMeta.load(dataset))
    digests = [load_model(checkpoint.path).digest for _ in range(2)]
    for recalibration in (PLATT, dataclasses.replace(PLATT, targets=(-2.0, 1.6))):
        record = EvaluationRecord(None, recalibration, 1000)
        record.save(checkpoint.path, checkpoint.sha256, is_fitted=True)
        digests.append(load_model(checkpoint.path).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3
