"""A multilayer perceptron in NumPy, backward passes by hand: nothing of the project is in it.

A layer takes `forward(inputs, training=...)` and `backward(gradient)`, both [batch, units]. Its
`parameters` and `gradients` are views into one vector each, which the optimizers work on.
"""

import numpy as np


def _mean(values, axis):
    # np.mean spends more time on its arguments than on so few numbers.
    return np.add.reduce(values, axis, keepdims=True) / values.shape[axis]


class Dense:
    """Inputs times a kernel plus a bias, 0 to begin with; `kernel` is a name of `KERNELS`."""

    def __init__(self, inputs, units, rng, *, kernel="glorot_uniform", is_first=False):
        self.parameters = [KERNELS[kernel](inputs, units, rng), np.zeros(units)]
        self.is_first = is_first

    def forward(self, inputs, *, training):  # noqa: ARG002
        self.inputs = inputs
        kernel, bias = self.parameters
        return inputs @ kernel + bias

    def backward(self, gradient):
        np.matmul(self.inputs.T, gradient, out=self.gradients[0])
        np.add.reduce(gradient, 0, out=self.gradients[1])
        return None if self.is_first else gradient @ self.parameters[0].T


def glorot_uniform(inputs, units, rng):
    limit = np.sqrt(6 / (inputs + units))
    return rng.uniform(-limit, limit, (inputs, units))


def he_normal(inputs, units, rng):
    """Keras draws from a normal distribution that is cut off at two deviations, and widens it."""
    drawn = rng.standard_normal((inputs, units))
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = rng.standard_normal(far.sum())
    return drawn * np.sqrt(2 / inputs) / 0.87962566103423978


KERNELS = {"glorot_uniform": glorot_uniform, "he_normal": he_normal}


class Relu:
    """Rectified units; those whose `on` is 0 are switched off."""

    parameters = ()
    on = 1

    def forward(self, inputs, *, training):  # noqa: ARG002
        self.outputs = np.maximum(inputs, 0) * self.on
        return self.outputs

    def backward(self, gradient):
        return gradient * (self.outputs > 0)


class _Norm:
    """What the normalisations share: standardise along an axis, then gamma and beta."""

    def __init__(self, units, epsilon):
        self.parameters = [np.ones(units), np.zeros(units)]
        self.epsilon = epsilon

    def forward(self, inputs, *, training):
        self.normalized = self.normalize(inputs, training=training)
        gamma, beta = self.parameters
        return gamma * self.normalized + beta

    def backward(self, gradient):
        np.add.reduce(gradient * self.normalized, 0, out=self.gradients[0])
        np.add.reduce(gradient, 0, out=self.gradients[1])
        return self.unnormalize(gradient * self.parameters[0])

    def standardize(self, inputs, axis):
        mean = _mean(inputs, axis)
        centred = inputs - mean
        variance = _mean(centred * centred, axis)
        self.axis, self.std = axis, np.sqrt(variance + self.epsilon)
        self.standard = centred / self.std
        return mean, variance

    def unnormalize(self, gradient):
        """Through the mean and the variance, too, as both are functions of the inputs."""
        along = self.standard * _mean(gradient * self.standard, self.axis)
        return (gradient - _mean(gradient, self.axis) - along) / self.std


class LayerNorm(_Norm):
    def normalize(self, inputs, *, training):  # noqa: ARG002
        self.standardize(inputs, axis=1)
        return self.standard


class BatchNorm(_Norm):
    def __init__(self, units, epsilon, momentum):
        super().__init__(units, epsilon)
        self.momentum, self.mean, self.variance = momentum, 0.0, 1.0

    def normalize(self, inputs, *, training):
        if not training:
            return (inputs - self.mean) / self.moving_std
        mean, variance = self.standardize(inputs, axis=0)
        normalized = self.correct(mean)
        keep = self.momentum
        self.mean = keep * self.mean + (1 - keep) * mean
        self.variance = keep * self.variance + (1 - keep) * variance
        return normalized

    @property
    def moving_std(self):
        # np.sqrt would make float64 of the number that the variance is at first.
        return (self.variance + self.epsilon) ** 0.5

    def correct(self, mean):  # noqa: ARG002
        return self.standard


class BatchRenorm(BatchNorm):
    """Ioffe 2017, algorithm 1: in training, too, close to what inference will do."""

    def __init__(self, units, epsilon, momentum, r_max, d_max):
        super().__init__(units, epsilon, momentum)
        self.r_max, self.d_max = r_max, d_max

    def correct(self, mean):
        self.r, self.d = self.factors(mean)
        return self.standard * self.r + self.d

    def factors(self, mean):
        moving_std = self.moving_std
        r = np.minimum(np.maximum(self.std / moving_std, 1 / self.r_max), self.r_max)
        d = np.minimum(np.maximum((mean - self.mean) / moving_std, -self.d_max), self.d_max)
        return r, d

    def unnormalize(self, gradient):
        """Takes r and d for constants."""
        return super().unnormalize(gradient * self.r)


NORMS = {"batch": BatchNorm, "layer": LayerNorm, "batch_renorm": BatchRenorm}


class Network:
    """Dense layers, each but the last with its normalisation and a ReLU, in this order.

    `norm` is a name of `NORMS` or "none"; `arguments` are its own.
    """

    def __init__(
        self, widths, rng, norm="none", arguments=(), *, kernel="glorot_uniform", dtype=np.float32
    ):
        inputs, *hidden, classes = widths
        self.layers = []
        for i, units in enumerate(hidden):
            before = [inputs, *hidden][i]
            self.layers.append(Dense(before, units, rng, kernel=kernel, is_first=i == 0))
            if norm != "none":
                self.layers.append(NORMS[norm](units, **dict(arguments)))
            self.layers.append(Relu())
        self.layers.append(Dense(hidden[-1], classes, rng, kernel=kernel))
        drawn = [one for layer in self.layers for one in layer.parameters]
        self.parameters = np.concatenate([one.ravel() for one in drawn]).astype(dtype)
        self.gradients = np.zeros_like(self.parameters)
        start = 0
        for layer in self.layers:
            shapes = [one.shape for one in layer.parameters]
            layer.parameters, layer.gradients = [], []
            for shape in shapes:
                end = start + int(np.prod(shape))
                layer.parameters.append(self.parameters[start:end].reshape(shape))
                layer.gradients.append(self.gradients[start:end].reshape(shape))
                start = end

    def logits(self, inputs, *, training=False):
        for layer in self.layers:
            inputs = layer.forward(inputs, training=training)
        return inputs

    def learn(self, inputs, labels):
        """Fills `gradients` with those of the mean cross-entropy of a batch."""
        gradient = probabilities(self.logits(inputs, training=True))
        gradient[np.arange(len(labels)), labels] -= 1
        gradient /= len(labels)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)

    def dead_units(self, inputs):
        """The share of hidden units that are 0 for all inputs."""
        self.logits(inputs)
        hidden = [layer.outputs for layer in self.layers if isinstance(layer, Relu)]
        return np.mean(np.concatenate([(units <= 0).all(axis=0) for units in hidden]))

    def gradient_growth(self, inputs, labels):
        """By how much the squared norm of kernels' gradients grows from a layer to that below."""
        self.learn(inputs, labels)
        kernels = [layer.gradients[0] for layer in self.layers if isinstance(layer, Dense)]
        # Of one shape: the first and the last have others.
        squared = [np.linalg.norm(gradient.astype(np.float64)) ** 2 for gradient in kernels[1:-1]]
        return np.exp(-np.polyfit(range(len(squared)), np.log(squared), 1)[0])

    def stable_rank(self, inputs):
        """That of the last hidden layer's outputs for a batch."""
        self.logits(inputs, training=True)
        hidden = [layer.outputs for layer in self.layers if isinstance(layer, Relu)]
        values = np.linalg.svd(hidden[-1].astype(np.float64), compute_uv=False)
        return (values**2).sum() / values[0] ** 2

    def ablation_area(self, inputs, labels, rng, orders):
        """Accuracy while more and more hidden units are 0, as a share of that with all."""
        hidden = [layer for layer in self.layers if isinstance(layer, Relu)]
        widths = [layer.outputs.shape[1] for layer in hidden]
        curves = []
        for _ in range(orders):
            last = rng.permutation(sum(widths))
            right = []
            for off in np.rint(np.linspace(0, sum(widths), 11)):
                for layer, on in zip(
                    hidden, np.split(last >= off, np.cumsum(widths)[:-1]), strict=True
                ):
                    layer.on = on.astype(np.float32)
                right.append((self.logits(inputs).argmax(axis=1) == labels).mean())
            curves.append(right)
        for layer in hidden:
            layer.on = 1
        by_share = np.mean(curves, axis=0)
        return np.trapezoid(by_share, dx=0.1) / by_share[0]


def probabilities(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / np.add.reduce(powers, 1, keepdims=True)


class Sgd:
    """With momentum as Keras has it: the rate is part of the velocity."""

    def __init__(self, learning_rate, momentum=0.0):
        self.learning_rate, self.momentum, self.velocity = learning_rate, momentum, 0.0

    def step(self, network):
        step = self.learning_rate * network.gradients
        self.velocity = self.momentum * self.velocity - step
        network.parameters += self.velocity


class Adam:
    """Kingma & Ba 2015 as Keras has it: epsilon is not scaled by the second moment's bias."""

    def __init__(self, learning_rate, epsilon=1e-7, beta_1=0.9, beta_2=0.999):
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.steps = 0

    def step(self, network):
        gradients = network.gradients
        if self.steps == 0:
            self.first, self.second = np.zeros_like(gradients), np.zeros_like(gradients)
        self.steps += 1
        self.first += (1 - self.beta_1) * (gradients - self.first)
        gradients *= gradients
        self.second += (1 - self.beta_2) * (gradients - self.second)
        unbiased = np.sqrt(1 - self.beta_2**self.steps) / (1 - self.beta_1**self.steps)
        change = np.sqrt(self.second)
        change += self.epsilon
        np.divide(self.first, change, out=change)
        change *= float(self.learning_rate * unbiased)
        network.parameters -= change


OPTIMIZERS = {"adam": Adam, "sgd": Sgd}


def train(network, optimizer, images, labels, *, epochs, batch_size, rng):
    """Shuffles all examples for each epoch; what does not fill a batch is left out of it."""
    whole = len(images) // batch_size * batch_size
    for _ in range(epochs):
        for chosen in rng.permutation(len(images))[:whole].reshape(-1, batch_size):
            network.learn(images[chosen], labels[chosen])
            optimizer.step(network)
