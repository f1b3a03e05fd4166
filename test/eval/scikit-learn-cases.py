"""
Makes scikit-learn-cases.json: random classifications with the values that scikit-learn gives for them.

    python3 scikit-learn-cases.py > scikit-learn-cases.json

Needs NumPy and scikit-learn. An answer that is no class is -1 in the file; to scikit-learn it is one class more, which
`labels` leaves out.
"""
import json
import sys
import warnings

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import calibration_curve

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20261130)


def case(number):
    classes = int(rng.integers(2, 13))
    count = int(rng.integers(1, 40))
    # Some classes never occur, some answers are no class, some models answer nearly always right.
    truth = rng.choice(rng.permutation(classes)[: int(rng.integers(1, classes + 1))], count)
    skill = rng.choice([0.0, 0.5, 0.9, 1.0])
    answer = np.where(rng.random(count) < skill, truth, rng.integers(0, classes, count))
    answer = np.where(rng.random(count) < rng.choice([0.0, 0.0, 0.2, 1.0], p=[0.4, 0.3, 0.25, 0.05]), classes, answer)
    labels = list(range(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, answer, labels=labels, zero_division=0)
    result = {
        "classes": classes,
        "truth": truth.tolist(),
        "answers": [-1 if a == classes else int(a) for a in answer],
        "accuracy": metrics.accuracy_score(truth, answer),
        "balancedAccuracy": metrics.balanced_accuracy_score(truth, answer),
        "macroF1": metrics.f1_score(truth, answer, labels=labels, average="macro", zero_division=0),
        "weightedF1": metrics.f1_score(truth, answer, labels=labels, average="weighted", zero_division=0),
        "matthews": metrics.matthews_corrcoef(truth, answer),
        "kappa": metrics.cohen_kappa_score(truth, answer),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
        "confusion": metrics.confusion_matrix(truth, answer, labels=labels).tolist(),
        "confusionByRow": metrics.confusion_matrix(truth, answer, labels=labels, normalize="true").tolist(),
    }
    # Natural-log probabilities of the classes, rounded so that the file stays small.
    scores = np.round(rng.normal(0, 2, (count, classes)) + 3 * skill * np.eye(classes)[truth], 2)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = shares.argmax(1)
    right, confidence = (best == truth).astype(int), shares.max(1)
    bins = int(rng.choice([5, 10, 15]))
    result["scores"] = scores.tolist()
    result["topK"] = [
        metrics.top_k_accuracy_score(truth, shares if classes > 2 else shares[:, 1], k=k, labels=labels) for k in range(1, classes)
    ] if classes > 2 else [metrics.accuracy_score(truth, best)]
    result["logLoss"] = metrics.log_loss(truth, shares, labels=labels)
    result["bins"] = bins
    shown, said = calibration_curve(right, confidence, n_bins=bins, strategy="uniform") if len(set(right)) > 1 else ([], [])
    result["calibrationAccuracy"], result["calibrationConfidence"] = list(shown), list(said)
    return result


cases = [case(i) for i in range(200)]
clean = lambda value: None if isinstance(value, float) and np.isnan(value) else value
json.dump({"scikit-learn": sklearn.__version__, "cases": [{k: clean(v) for k, v in one.items()} for one in cases]}, sys.stdout, separators=(",", ":"))
