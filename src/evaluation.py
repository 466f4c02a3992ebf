# SPDX-License-Identifier: Apache-2.0
"""Score a network on a split."""

import numpy as np

from src.metrics import drop_padding, log_loss, roc_auc


def evaluate(predictor, dataset, between_batches=None):
    """Return AUC, log loss and the number of rows of all of `dataset`, batches that end with the labels.

    predictor: a DeepFMPredict.  between_batches: called after each batch; what it raises ends the evaluation.
    """
    labels, probabilities = predict(predictor, dataset, between_batches)
    return {"AUC": roc_auc(labels, probabilities), "log_loss": log_loss(labels, probabilities), "rows": len(labels)}


def predict(predictor, dataset, between_batches=None):
    """Return the labels and the click probabilities of the rows of `dataset` that are not padding, both float32 [n]."""
    was_training = predictor.network.training
    predictor.set_train(False)
    labels, probabilities = [], []
    try:
        for *inputs, batch_labels in dataset.create_tuple_iterator(num_epochs=1):
            labels.append(batch_labels.asnumpy())
            probabilities.append(predictor(*inputs).asnumpy())
            if between_batches is not None:
                between_batches()
    finally:
        predictor.network.set_train(was_training)
    return drop_padding(np.concatenate(labels), np.concatenate(probabilities))
