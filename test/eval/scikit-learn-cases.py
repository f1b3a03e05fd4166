"""
Makes scikit-learn-cases.json: the values that scikit-learn gives for random classifications.

    python3 scikit-learn-cases.py > scikit-learn-cases.json

Needs NumPy and scikit-learn. The classifications themselves are not in the file: scikit-learn-cases.ts makes the same ones
from the same hash. An answer that is no class is one class more to scikit-learn, which `labels` leaves out.
"""
import json
import sys
import warnings

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import calibration_curve

warnings.filterwarnings("ignore")


def mix(x):
    """The multiply-xorshift mixer of src/random.ts."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


class Draws:
    """Whole numbers below a bound: counterHash of src/random.ts, counted up from 0."""

    def __init__(self, seed):
        self.seed = seed
        self.counter = 0

    def below(self, bound):
        value = mix(mix(self.counter ^ ((self.seed * 0x9E3779B9) & 0xFFFFFFFF)) ^ self.seed)
        self.counter += 1
        return value % bound


def inputs(number):
    # Some classes never occur, some answers are no class, some models answer nearly always right.
    draws = Draws(number)
    classes = 2 + draws.below(11)
    count = 1 + draws.below(39)
    occurring = 1 + draws.below(classes)
    skill = [0, 50, 90, 100][draws.below(4)]
    invalid = [0, 0, 20, 100][draws.below(4)] if draws.below(4) == 0 else [0, 5][draws.below(2)]
    truth, answers, scores = [], [], []
    for _ in range(count):
        t = draws.below(occurring)
        a = t if draws.below(100) < skill else draws.below(classes)
        answers.append(classes if draws.below(100) < invalid else a)
        # Hundredths, so that some are equal.
        row = [(draws.below(400) + draws.below(400) - 400 + (3 * skill if k == t else 0)) / 100 for k in range(classes)]
        truth.append(t)
        scores.append(row)
    return classes, np.array(truth), np.array(answers), np.array(scores), [5, 10, 15][draws.below(3)]


def sparse(matrix):
    """Place in the rows, one after the other, and value of each value that is not 0."""
    return [part for place, value in enumerate(np.asarray(matrix).ravel().tolist()) if value != 0 for part in (place, value)]


def rounded(value):
    if isinstance(value, (list, np.ndarray)):
        return [rounded(one) for one in value]
    value = float(value)
    if np.isnan(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.12g}")


def case(number):
    classes, truth, answer, scores, bins = inputs(number)
    labels = list(range(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, answer, labels=labels, zero_division=0)
    averages = {
        f"{average}{name}": function(truth, answer, labels=labels, average=average, zero_division=0)
        for average in ("macro", "weighted")
        for name, function in (("Precision", metrics.precision_score), ("Recall", metrics.recall_score), ("F1", metrics.f1_score))
    }
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = shares.argmax(1)
    right, confidence = (best == truth).astype(int), shares.max(1)
    # What `labels=None` means where all answers are classes.
    occurring = sorted(set(truth.tolist()) | {int(a) for a in answer if a < classes})
    result = {
        "classes": classes,
        "count": len(truth),
        "accuracy": metrics.accuracy_score(truth, answer),
        "balancedAccuracy": metrics.balanced_accuracy_score(truth, answer),
        **averages,
        "macroF1Occurring": metrics.f1_score(truth, answer, labels=occurring, average="macro", zero_division=0),
        "matthewsCorrcoef": metrics.matthews_corrcoef(truth, answer),
        "cohenKappa": metrics.cohen_kappa_score(truth, answer),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "support": support,
        "confusion": sparse(metrics.confusion_matrix(truth, answer, labels=labels)),
        "confusionByRow": sparse(metrics.confusion_matrix(truth, answer, labels=labels, normalize="true")),
        "topK": [metrics.top_k_accuracy_score(truth, shares, k=k, labels=labels) for k in range(1, min(classes, 6))]
        if classes > 2
        else [metrics.top_k_accuracy_score(truth, shares[:, 1], k=1, labels=labels)],
        "logLoss": metrics.log_loss(truth, shares, labels=labels),
        "brierScoreLoss": metrics.brier_score_loss(truth, shares if classes > 2 else shares[:, 1], labels=labels),
        "bins": bins,
    }
    if classes in answer and number < 100:
        # With the class more, whose row is empty.
        result["confusionByRowCounted"] = sparse(metrics.confusion_matrix(truth, answer, labels=[*labels, classes], normalize="true"))
    if len(set(right)) > 1:
        shown, said = calibration_curve(right, confidence, n_bins=bins, strategy="uniform")
        result["calibrationAccuracy"], result["calibrationConfidence"] = shown, said
    return {key: rounded(value) for key, value in result.items()}


cases = [case(i) for i in range(200)]
keys = list(dict.fromkeys(key for one in cases for key in one))
# A case is the values of all keys, null where it lacks one: the names would be most of the file.
rows = [[one.get(key) for key in keys] for one in cases]
json.dump({"scikit-learn": sklearn.__version__, "keys": keys, "cases": rows}, sys.stdout, separators=(",", ":"))
print()
