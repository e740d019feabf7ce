from __future__ import annotations

import torch
from sklearn.linear_model import LinearRegression

from dws.metanets import DWSNet
from dws.tasks import Contrastive
from dws.training import LabelledNetworks, WeightSpaceModel
from dws.training.inference import embed, predict
from dws.zoo import Zoo


def test_linear_probe_is_fitted_to_the_training_split(sine_zoo: Zoo) -> None:
    task, cpu = Contrastive(out_features=3, labels=("frequency",)), torch.device("cpu")
    net = DWSNet(sine_zoo.spec, out_features=3, hidden_channels=4, num_layers=1)
    model = WeightSpaceModel(sine_zoo.spec, net, task.output_layer(None), embeds_output=True).eval()
    train_set, val_set = (
        LabelledNetworks.load(sine_zoo.split(name), task, cpu) for name in ("train", "val")
    )
    outputs, targets = predict(model, task, val_set, train_set=train_set, batch_size=7)
    train_embeddings, embedding = (embed(model, s, batch_size=7) for s in (train_set, val_set))
    probe = LinearRegression().fit(train_embeddings.numpy(), train_set.targets.numpy())
    expected = torch.from_numpy(probe.predict(embedding.numpy()))
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(targets, val_set.targets)
    read_before = predict(
        model, task, val_set, train_set=train_set, batch_size=7, train_embedding=train_embeddings
    )
    assert torch.equal(read_before[0], outputs)
    with torch.no_grad():  # a constant dimension
        net.head.map.weight[0].zero_()
    assert bool(
        predict(model, task, val_set, train_set=train_set, batch_size=7)[0].isfinite().all()
    )
    with torch.no_grad():  # as after a diverging step
        net.head.map.weight[0].fill_(torch.inf)
    outputs, _ = predict(model, task, val_set, train_set=train_set, batch_size=7)
    assert bool(outputs.isnan().all())
