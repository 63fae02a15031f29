"""Estimators of scikit-learn: where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

import chiffre

sklearn = pytest.importorskip("sklearn")
pytest.importorskip("onnx")

from sklearn.decomposition import PCA  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

RNG = np.random.default_rng(3)
X = RNG.standard_normal((400, 6)) * [1, 2, 3, 1, 1, 0.5] + [0, 1, 0, -1, 0, 2]
MIXED = X @ RNG.standard_normal((6, 3))
THREE = MIXED.argmax(axis=1)
TWO = np.array(["no", "yes"])[(MIXED[:, 0] > 0).astype(int)]
FIT = {"max_iter": 60, "random_state": 0}

CLASSIFIERS = {
    "logistic, three classes": (LogisticRegression(), THREE, {}),
    "logistic, two classes": (LogisticRegression(), TWO, {}),
    "scaled logistic": (make_pipeline(StandardScaler(), LogisticRegression()), THREE, {}),
    "principal components": (make_pipeline(StandardScaler(), PCA(4, whiten=True), LogisticRegression()), TWO, {}),
    "perceptron with ReLU": (make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(12,), **FIT)), THREE, {"activation_degree": 15}),
    "perceptron with tanh, two classes": (
        make_pipeline(StandardScaler(with_mean=False), MLPClassifier(hidden_layer_sizes=(8,), activation="tanh", **FIT)), TWO, {"activation_degree": 15},
    ),
    "perceptron with two hidden layers": (
        make_pipeline(StandardScaler(with_std=False), MLPClassifier(hidden_layer_sizes=(8, 6), activation="identity", **FIT)), THREE, {},
    ),
}
REGRESSORS = {
    "linear": (LinearRegression(), {}),
    "ridge without an intercept": (Ridge(fit_intercept=False), {}),
    "perceptron": (make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(12,), activation="logistic", **FIT)), {"activation_degree": 15}),
    "components": (make_pipeline(PCA(5), LinearRegression()), {}),
}
TINY = {"batch": 64, "log_n": 12, "allow_insecure": True}


def compiled(model, options):
    return chiffre.compile(chiffre.from_sklearn(model), calibrate=X.astype(np.float32) if options else None, **TINY, **options)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("case", CLASSIFIERS)
def test_classifiers_predict_the_same(case):
    model, y, options = CLASSIFIERS[case]
    model.fit(X, y)
    scores = compiled(model, options).simulate(X)
    found = model.classes_[scores.argmax(axis=1)]
    probability = model.predict_proba(X)
    ranked = np.sort(probability, axis=1)
    # Where two classes are as good as equal, a rounded answer may be either.
    clear = ranked[:, -1] - ranked[:, -2] > (0.1 if options else 1e-3)
    assert clear.mean() > 0.8 and (found == model.predict(X))[clear].all()
    if not options:
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        assert np.abs(shares / shares.sum(axis=1, keepdims=True) - probability).max() < 1e-3


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("case", REGRESSORS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_regressors_predict_the_same(case, outputs):
    model, options = REGRESSORS[case]
    y = MIXED[:, 0] if outputs == 1 else MIXED
    model.fit(X, y)
    wanted = model.predict(X).reshape(len(X), outputs)
    error = np.abs(compiled(model, options).simulate(X) - wanted).max() / np.abs(wanted).max()
    assert error < (0.05 if options else 1e-4), error


def test_an_estimator_encrypted():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, THREE)
    program = compiled(model, {})
    client = chiffre.Client(program)
    batch, receipt = client.encrypt(X[:64])
    answers = client.decrypt(chiffre.Server(program, client.evaluation_keys()).run(batch), receipt)
    assert np.abs(answers.logits - program.simulate(X[:64])).max() < 0.02
    assert (model.classes_[answers.top(1)[:, 0]] == model.predict(X[:64])).mean() > 0.95


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_other_estimators_are_refused_by_name():
    with pytest.raises(chiffre.ModelError, match="DecisionTreeClassifier is not taken") as e:
        chiffre.from_sklearn(DecisionTreeClassifier().fit(X, THREE))
    assert e.value.operator == "DecisionTreeClassifier" and "MLPClassifier" in e.value.advice
    poisson = MLPRegressor(hidden_layer_sizes=(2,), loss="poisson", max_iter=2).fit(X, np.abs(MIXED[:, 0]))
    with pytest.raises(chiffre.ModelError, match="behind exp is not taken"):
        chiffre.from_sklearn(poisson)
    with pytest.raises(chiffre.ModelError, match="inside of a pipeline"):
        chiffre.from_sklearn(make_pipeline(LogisticRegression(), StandardScaler()))
    with pytest.raises(chiffre.InputError, match="from_sklearn takes it"):
        chiffre.compile(LogisticRegression().fit(X, THREE))
