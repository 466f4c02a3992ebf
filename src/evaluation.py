# SPDX-License-Identifier: Apache-2.0
"""Score a network on a split."""

import numpy as np

from src.deepfm import DeepFMPredict
from src.metrics import drop_padding, log_loss, roc_auc


def evaluate(network, dataset):
    """Return AUC, log loss and the number of rows of all of `dataset`, batches that end with the labels."""
    labels, probabilities = predict(network, dataset)
    return {"AUC": roc_auc(labels, probabilities), "log_loss": log_loss(labels, probabilities), "rows": len(labels)}


def predict(network, dataset):
    """Return the labels and the click probabilities of the rows of `dataset` that are not padding, both float32 [n]."""
    was_training = network.training
    predictor = DeepFMPredict(network)
    labels, probabilities = [], []
    for *inputs, batch_labels in dataset.create_tuple_iterator(num_epochs=1):
        labels.append(batch_labels.asnumpy())
        probabilities.append(predictor(*inputs).asnumpy())
    network.set_train(was_training)
    return drop_padding(np.concatenate(labels), np.concatenate(probabilities))
