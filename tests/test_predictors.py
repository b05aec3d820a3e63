"""Traced predictors against scikit-learn, numpy and finite differences."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression, Ridge

from dvrl.data.table import Table
from dvrl.numerics.padding import pad
from dvrl.predictors.linear import INTERCEPT_PENALTY, LinearPredictor
from dvrl.predictors.networks import MLPPredictor
from dvrl.predictors.registry import named_predictor
from dvrl.predictors.traced import fit_traced

N_ROWS, N_FEATURES = 120, 5
HYPER = {"inner_learning_rate": jnp.float32(0.1), "l2": jnp.float32(2.0)}


def class_data(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=N_ROWS)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) + np.eye(n_classes, N_FEATURES)[labels]
    weights = rng.random((2, N_ROWS))
    weights[1, ::3] = 0.0
    return X.astype(np.float32), labels, weights.astype(np.float32)


def fitted_scores(predictor, X, Y, weights, X_new, hyper=HYPER, start=None):
    if start is None:
        start = predictor.init(np.random.default_rng(0), X.shape[1], Y.shape[1])
    params = predictor.solve(
        start, X, Y, jnp.asarray(weights), jnp.ones(len(X)), jax.random.key(0), hyper
    )
    scores = jax.vmap(lambda params: predictor.apply(params, X_new, Y.shape[1]))(params)
    return np.asarray(scores), params


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_solved_fit_does_not_depend_on_its_start_or_on_padding(n_classes):
    X, labels, weights = class_data(n_classes)
    Y = np.eye(n_classes, dtype=np.float32)[labels]
    predictor = LinearPredictor(tolerance=1e-6)
    expected, params = fitted_scores(predictor, X, Y, weights, X)
    far = jax.tree.map(lambda leaf: leaf[0] + 1.0, params)
    again, _ = fitted_scores(predictor, X, Y, weights, X, start=far)
    np.testing.assert_allclose(again, expected, atol=1e-4)
    each = jax.tree.map(lambda leaf: leaf[::-1], params)  # one start per selection
    again, _ = fitted_scores(predictor, X, Y, weights, X, start=each)
    np.testing.assert_allclose(again, expected, atol=1e-4)

    wide, tall = pad(X, 128, 8), pad(Y, 128)
    start = predictor.init(np.random.default_rng(0), N_FEATURES, n_classes)
    start = predictor.widened(start, N_FEATURES + 3)
    mask = pad(np.ones(N_ROWS, np.float32), 128)
    padded = predictor.solve(
        start, wide, tall, pad(weights.T, 128).T, mask, jax.random.key(0), HYPER
    )  # fmt: skip
    scores = jax.vmap(lambda params: predictor.apply(params, wide, n_classes))(padded)
    np.testing.assert_allclose(np.asarray(scores)[:, :N_ROWS], expected, atol=1e-4)


def test_solved_fits_of_many_unlike_selections():
    """The shared preconditioner must serve selections that differ a lot."""
    X, labels, _ = class_data(2)
    X[:, 4] = np.arange(N_ROWS) % 40 == 0  # a category of three rows
    Y = np.eye(2, dtype=np.float32)[labels]
    rng = np.random.default_rng(0)
    weights = (rng.random((32, N_ROWS)) < rng.random((32, 1))).astype(np.float32)
    together, _ = fitted_scores(LinearPredictor(tolerance=1e-6), X, Y, weights, X)
    for index in range(0, 32, 8):
        alone, _ = fitted_scores(
            LinearPredictor(tolerance=1e-6), X, Y, weights[index : index + 1], X
        )
        np.testing.assert_allclose(together[index], alone[0], atol=1e-4)


def test_selections_without_rows_or_of_one_class_have_a_finite_fit():
    X, labels, _ = class_data(3)
    Y = np.eye(3, dtype=np.float32)[labels]
    weights = np.stack([np.zeros(N_ROWS), labels == 1]).astype(np.float32)
    scores, _ = fitted_scores(LinearPredictor(), X, Y, weights, X)
    np.testing.assert_allclose(scores[0], 1 / 3, atol=1e-5)
    assert (scores[1].argmax(axis=1) == 1).all()


# --- mini-batches -------------------------------------------------------------------------------


def test_selections_share_their_mini_batches():
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    for predictor in (LinearPredictor(steps=30, batch_size=16), MLPPredictor(steps=5)):
        twice, _ = fitted_scores(predictor, X, Y, np.stack([weights[0]] * 2), X)
        np.testing.assert_allclose(twice[0], twice[1], atol=1e-6)


def test_rows_of_no_weight_do_not_matter():
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    wrong = Y.copy()
    wrong[::3] = wrong[::3, ::-1]  # weights[1] is zero there
    for predictor in (
        LinearPredictor(),
        LinearPredictor(steps=20, batch_size=16),
        MLPPredictor(steps=5),
    ):
        right, _ = fitted_scores(predictor, X, Y, weights[1:], X)
        other, _ = fitted_scores(predictor, X, wrong, weights[1:], X)
        np.testing.assert_allclose(right, other, atol=1e-6)


def test_mlp_learns_what_no_line_can():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2)).astype(np.float32)
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    Y = np.eye(2, dtype=np.float32)[labels]
    mlp = named_predictor("mlp", "classification", steps=100, batch_size=64, optimizer="adam")
    mlp, rows = mlp.for_one_fit(300), Table(X, Y)
    fitted = fit_traced(mlp, rows, np.ones(300, np.float32), learning_rate=1e-2, l2=0.0)
    assert np.mean(fitted.scores(rows)[0].argmax(axis=1) == labels) > 0.95
    line = fit_traced(LinearPredictor(), rows, np.ones(300, np.float32))
    assert np.mean(line.scores(rows)[0].argmax(axis=1) == labels) < 0.7


def test_mlp_regressor_fits_a_parabola():
    X = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    Y = 2 * X**2 - 1
    mlp = named_predictor("mlp", "regression", steps=100, batch_size=64, optimizer="adam")
    mlp, rows = mlp.for_one_fit(200), Table(X, Y)
    fitted = fit_traced(mlp, rows, np.ones(200, np.float32), learning_rate=1e-2, l2=0.0)
    assert np.mean((fitted.scores(rows)[0] - Y) ** 2) < 0.02 * np.var(Y)


# --- the gradient through the fit ---------------------------------------------------------------


def reward_of_weights(predictor, X, Y, X_new, Y_new, start, weights):
    params = predictor.solve(start, X, Y, weights[None], jnp.ones(len(X)), jax.random.key(0), HYPER)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    scores = predictor.apply(params, X_new, Y.shape[1])
    if Y.shape[1] == 1:
        return -jnp.mean((scores - Y_new) ** 2)
    return jnp.mean(jnp.sum(Y_new * jnp.log(scores), axis=1))


@pytest.mark.parametrize(
    ("predictor", "n_outputs"),
    [
        (LinearPredictor(tolerance=1e-7), 2),
        (LinearPredictor(tolerance=1e-7), 3),
        (LinearPredictor(tolerance=1e-7), 1),
        (LinearPredictor(steps=20, batch_size=32), 2),
        (LinearPredictor(steps=20, batch_size=32, optimizer="adam"), 2),
    ],
    ids=["binary", "softmax", "ridge", "sgd", "adam"],
)
def test_gradient_through_the_fit_against_finite_differences(predictor, n_outputs):
    X, labels, weights = class_data(max(n_outputs, 2))
    X_new, labels_new, _ = class_data(max(n_outputs, 2), seed=1)
    if n_outputs == 1:
        Y, Y_new = (x[:, :1] - x[:, 1:2] ** 2 for x in (X, X_new))
    else:
        Y, Y_new = (np.eye(n_outputs, dtype=np.float32)[each] for each in (labels, labels_new))
    X, Y, X_new, Y_new = map(jnp.asarray, (X, Y, X_new, Y_new))
    start = predictor.init(np.random.default_rng(0), N_FEATURES, n_outputs)
    reward = jax.jit(partial(reward_of_weights, predictor, X, Y, X_new, Y_new, start))
    base = jnp.asarray(0.2 + 0.6 * weights[0])
    gradient = np.asarray(jax.jit(jax.grad(reward))(base))
    # Along random directions; float32 rewards want long steps, and central differences allow them.
    rng = np.random.default_rng(2)
    for _ in range(5):
        direction = rng.normal(size=N_ROWS).astype(np.float32)
        step = 0.02
        numeric = (reward(base + step * direction) - reward(base - step * direction)) / (2 * step)
        assert gradient @ direction == pytest.approx(
            float(numeric), rel=0.05, abs=0.02 * float(np.linalg.norm(gradient))
        )


# --- names and starts ---------------------------------------------------------------------------


def test_names():
    with pytest.raises(ValueError, match="unknown for regression"):
        named_predictor("logistic", "regression", steps=None, batch_size=8, optimizer="sgd")
    with pytest.raises(ValueError, match="whole number"):
        named_predictor("mlp", "classification", steps=None, batch_size=8, optimizer="adam")


def test_mini_batches_go_on_from_a_pretrained_state():
    X, labels, _ = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    full = np.ones((1, N_ROWS), np.float32)
    solved, params = fitted_scores(LinearPredictor(), X, Y, full, X)
    start = jax.tree.map(lambda leaf: leaf[0], params)
    few = LinearPredictor(steps=3, batch_size=N_ROWS)
    from_zero, _ = fitted_scores(few, X, Y, full, X)
    from_solved, _ = fitted_scores(few, X, Y, full, X, start=start)
    assert np.abs(from_solved - solved).max() < 0.1 * np.abs(from_zero - solved).max()


# --- coefficients, not predictions alone --------------------------------------------------------


def with_penalised_intercept(X, l2):
    """A column whose coefficient pays what ours pays for the intercept; and its size."""
    size = np.sqrt(l2 / INTERCEPT_PENALTY)
    return np.column_stack([X, np.full(len(X), size)]).astype(np.float64), size


@pytest.mark.parametrize("n_classes", [2, 3])
def test_coefficients_are_scikit_learns(n_classes):
    X, labels, weights = class_data(n_classes)
    Y = np.eye(n_classes, dtype=np.float32)[labels]
    _, params = fitted_scores(LinearPredictor(tolerance=1e-6), X, Y, weights, X)
    columns, size = with_penalised_intercept(X, 2.0)
    for index, row_weights in enumerate(weights):
        theirs = LogisticRegression(C=1 / 2.0, fit_intercept=False, tol=1e-10, max_iter=5000)
        theirs.fit(columns, labels, sample_weight=row_weights)
        coefficients = theirs.coef_.T
        np.testing.assert_allclose(params["weight"][index], coefficients[:-1], atol=2e-4)
        np.testing.assert_allclose(params["bias"][index], coefficients[-1] * size, atol=2e-4)


@pytest.mark.parametrize("l2", [0.1, 2.0, 50.0])
def test_ridge_coefficients_are_those_of_the_normal_equations(l2):
    X, _, weights = class_data(2)
    y = X @ np.arange(N_FEATURES) + 3.0 + np.random.default_rng(1).normal(size=N_ROWS)
    Y = y[:, None].astype(np.float32)
    hyper = {**HYPER, "l2": jnp.float32(l2)}
    _, params = fitted_scores(LinearPredictor(tolerance=1e-6), X, Y, weights, X, hyper)
    columns, size = with_penalised_intercept(X, l2)
    for index, row_weights in enumerate(weights):
        theirs = Ridge(alpha=l2, fit_intercept=False).fit(columns, y, sample_weight=row_weights)
        np.testing.assert_allclose(params["weight"][index][:, 0], theirs.coef_[:-1], atol=5e-4)
        np.testing.assert_allclose(params["bias"][index][0], theirs.coef_[-1] * size, atol=5e-4)


# --- mini-batches of a few rows, and other optimisers, in numpy ---------------------------------


def mini_batches(key, n_rows, steps, batch_size):
    """Row numbers of each step: windows of one shuffled ring, at random offsets."""
    order_key, offset_key = jax.random.split(key)
    order = np.argsort(np.asarray(jax.random.uniform(order_key, (n_rows,))))
    offsets = np.asarray(jax.random.randint(offset_key, (steps,), 0, n_rows))
    return [order[(offset + np.arange(batch_size)) % n_rows] for offset in offsets]


def sgd(rate):
    return lambda gradients, state, t: ([-rate * g for g in gradients], state)


def adam(rate, decays=(0.9, 0.999)):
    def update(gradients, state, t):
        state = state or [[np.zeros_like(g), np.zeros_like(g)] for g in gradients]
        steps = []
        for moments, g in zip(state, gradients, strict=True):
            moments[0] = decays[0] * moments[0] + (1 - decays[0]) * g
            moments[1] = decays[1] * moments[1] + (1 - decays[1]) * g**2
            mean, square = (m / (1 - d**t) for m, d in zip(moments, decays, strict=True))
            steps.append(-rate * mean / (np.sqrt(square + 1e-12) + 1e-8))
        return steps, state

    return update


@pytest.mark.parametrize(
    ("optimizer", "update", "batch_size"),
    [("sgd", sgd(0.1), 16), ("adam", adam(0.1), 16), ("sgd", sgd(0.1), 200)],
    ids=["sgd", "adam", "more than all rows"],
)
def test_mini_batches_against_numpy(optimizer, update, batch_size):
    X, labels, weights = class_data(3)
    Y = np.eye(3, dtype=np.float32)[labels]
    predictor = LinearPredictor(steps=12, batch_size=batch_size, optimizer=optimizer)
    _, params = fitted_scores(predictor, X, Y, weights, X)
    for index, row_weights in enumerate(weights):
        weight, bias, state = np.zeros((N_FEATURES, 3)), np.zeros(3), None
        for t, rows in enumerate(mini_batches(jax.random.key(0), N_ROWS, 12, batch_size), 1):
            residual = softmax(X[rows] @ weight + bias, axis=1) - Y[rows]
            residual = row_weights[rows, None] * residual / batch_size
            gradients = [
                X[rows].T @ residual + 2.0 / N_ROWS * weight,
                residual.sum(axis=0) + 2.0 / N_ROWS * bias,
            ]
            (weight_step, bias_step), state = update(gradients, state, t)
            weight, bias = weight + weight_step, bias + bias_step
        np.testing.assert_allclose(params["weight"][index], weight, atol=2e-5)
        np.testing.assert_allclose(params["bias"][index], bias, atol=2e-5)


def test_steps_of_the_mlp_against_backpropagation_in_numpy():
    X, labels, weights = class_data(2)
    target = (2.0 * labels - 1.0).astype(np.float32)[:, None]
    mlp = MLPPredictor(steps=6, batch_size=16, hidden=(7, 4), optimizer="sgd")
    start = mlp.init(np.random.default_rng(0), N_FEATURES, 1)
    _, params = fitted_scores(mlp, X, target, weights, X, start=start)
    for index, row_weights in enumerate(weights):
        layers = [[np.float64(layer["weight"]), np.float64(layer["bias"])] for layer in start]
        for rows in mini_batches(jax.random.key(0), N_ROWS, 6, 16):
            inputs = [X[rows].astype(np.float64)]
            for weight, bias in layers[:-1]:
                inputs.append(np.maximum(inputs[-1] @ weight + bias, 0.0))
            output = inputs[-1] @ layers[-1][0] + layers[-1][1]
            error = row_weights[rows, None] * (output - target[rows]) / 16
            for layer, into in zip(layers[::-1], inputs[::-1], strict=True):
                by_weight, by_bias = into.T @ error, error.sum(axis=0)
                error = (error @ layer[0].T) * (into > 0)
                layer[0] = layer[0] - 0.1 * (by_weight + 2.0 / N_ROWS * layer[0])
                layer[1] = layer[1] - 0.1 * (by_bias + 2.0 / N_ROWS * layer[1])
        for layer, (weight, bias) in zip(params, layers, strict=True):
            np.testing.assert_allclose(layer["weight"][index], weight, atol=2e-5)
            np.testing.assert_allclose(layer["bias"][index], bias, atol=2e-5)


def test_padding_is_never_in_a_mini_batch():
    """Rows behind the mask with huge features and weights; columns of padding stay unused."""
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    n_rows = 90
    wild_X, wild_weights = X.copy(), weights.copy()
    wild_X[n_rows:], wild_weights[:, n_rows:] = 1e6, 1e6
    mask = jnp.asarray(np.arange(N_ROWS) < n_rows, jnp.float32)
    for predictor in (
        LinearPredictor(steps=20, batch_size=16),
        MLPPredictor(steps=5, batch_size=16, hidden=(8,)),
    ):
        start = predictor.init(np.random.default_rng(0), N_FEATURES, 2)
        fits = [
            predictor.solve(start, rows, Y, jnp.asarray(each), mask, jax.random.key(0), HYPER)
            for rows, each in ((X, weights), (wild_X, wild_weights))
        ]
        jax.tree.map(np.testing.assert_array_equal, *fits)


# --- exact oracles for the gradient through the fit ---------------------------------------------


def newton_float64(columns, targets, row_weights, penalty, logistic):
    """The converged fit in float64 numpy, from zero."""
    theta = np.zeros(columns.shape[1])
    for _ in range(50):
        raw = columns @ theta
        mean = expit(raw) if logistic else raw
        curvature = row_weights * (mean * (1 - mean) if logistic else 1.0)
        gradient = columns.T @ (row_weights * (mean - targets)) + penalty * theta
        hessian = (columns.T * curvature) @ columns + np.diag(penalty)
        theta = theta - np.linalg.solve(hessian, gradient)
    assert np.abs(gradient).max() < 1e-8
    return theta


@pytest.mark.parametrize("logistic", [True, False])
def test_gradient_through_the_fit_row_by_row(logistic):
    """Each row's weight moved by itself, and the fit solved again in float64."""
    X, labels, weights = class_data(2)
    X_new, labels_new, _ = class_data(2, seed=1)
    if logistic:
        y, y_new = labels.astype(float), labels_new.astype(float)
        Y, Y_new = (np.eye(2, dtype=np.float32)[each] for each in (labels, labels_new))
    else:
        y, y_new = ((x[:, 0] - x[:, 1] ** 2).astype(np.float64) for x in (X, X_new))
        Y, Y_new = (each[:, None].astype(np.float32) for each in (y, y_new))
    base = (0.2 + 0.6 * weights[0]).astype(np.float32)
    columns, columns_new = (np.column_stack([x, np.ones(len(x))]) for x in (X, X_new))
    penalty = np.array([2.0] * N_FEATURES + [INTERCEPT_PENALTY])

    def exact_reward(row_weights):
        raw = columns_new @ newton_float64(columns, y, row_weights, penalty, logistic)
        if logistic:
            return np.mean(np.log(expit(np.where(y_new > 0, raw, -raw))))
        return -np.mean((raw - y_new) ** 2)

    predictor = LinearPredictor(tolerance=1e-6)
    start = predictor.init(np.random.default_rng(0), N_FEATURES, Y.shape[1])
    reward = partial(reward_of_weights, predictor, X, Y, X_new, Y_new, start)
    value, gradient = jax.jit(jax.value_and_grad(reward))(jnp.asarray(base))
    assert float(value) == pytest.approx(exact_reward(base.astype(np.float64)), rel=1e-4)
    wide = base.astype(np.float64)
    numeric = []
    for row in range(0, N_ROWS, 3):
        step = np.zeros(N_ROWS)
        step[row] = 1e-4
        numeric.append((exact_reward(wide + step) - exact_reward(wide - step)) / 2e-4)
    # The adjoint system is solved to a relative residual of .001.
    scale = np.abs(numeric).max()
    np.testing.assert_allclose(np.asarray(gradient)[::3], numeric, atol=5e-3 * scale)


def test_gradient_through_the_steps_of_the_mlp():
    X, labels, weights = class_data(2)
    X_new, labels_new, _ = class_data(2, seed=1)
    Y, Y_new = (np.eye(2, dtype=np.float32)[each] for each in (labels, labels_new))
    X, Y, X_new, Y_new = map(jnp.asarray, (X, Y, X_new, Y_new))
    mlp = MLPPredictor(steps=10, batch_size=32, hidden=(8,), optimizer="sgd")
    start = mlp.init(np.random.default_rng(0), N_FEATURES, 2)
    reward = jax.jit(partial(reward_of_weights, mlp, X, Y, X_new, Y_new, start))
    base = jnp.asarray(0.2 + 0.6 * weights[0])
    gradient = np.asarray(jax.jit(jax.grad(reward))(base))
    # Along the gradient, where the reward changes most. A few ReLUs may switch on the way.
    direction = gradient / np.linalg.norm(gradient)
    numeric = float(reward(base + 0.1 * direction) - reward(base - 0.1 * direction)) / 0.2
    assert numeric == pytest.approx(float(np.linalg.norm(gradient)), rel=0.05)


def test_selections_do_not_share_their_gradients():
    """The reward of one selection has no derivative by the weights of another."""
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    predictor = LinearPredictor(tolerance=1e-6)
    start = predictor.init(np.random.default_rng(0), N_FEATURES, 2)

    def first_coefficients(weights):
        params = predictor.solve(start, X, Y, weights, jnp.ones(N_ROWS), jax.random.key(0), HYPER)
        return jnp.sum(params["weight"][0])

    gradient = np.asarray(jax.jit(jax.grad(first_coefficients))(jnp.asarray(weights)))
    assert np.abs(gradient[0]).max() > 1e-4
    np.testing.assert_array_equal(gradient[1], 0.0)


def test_a_pretrained_mlp_is_where_its_steps_start():
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    mlp = MLPPredictor(steps=4, batch_size=16, hidden=(8,))
    hyper = {"inner_learning_rate": jnp.float32(0.01), "l2": jnp.float32(0.0)}
    _, once = fitted_scores(mlp, X, Y, weights[:1], X, hyper)
    state = jax.tree.map(lambda leaf: leaf[0], once)
    still = {**hyper, "inner_learning_rate": jnp.float32(0.0)}
    _, kept = fitted_scores(mlp, X, Y, weights[:1], X, still, start=state)
    jax.tree.map(np.testing.assert_array_equal, kept, once)
    _, moved = fitted_scores(mlp, X, Y, weights[:1], X, hyper, start=state)
    assert np.abs(np.asarray(moved[0]["weight"]) - np.asarray(once[0]["weight"])).max() > 1e-3
