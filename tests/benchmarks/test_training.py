"""The benchmarks of training, at toy size: what they compare does the same, and they print their results."""

import json
import sys

import pytest
import torch

from benchmarks import loader, rerank, step, step_aptm, step_irra, step_rde


def printed(monkeypatch, capsys, module, *words):
    """The lines that a benchmark prints."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def threads():
    """As many threads afterwards as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("module", "preset"), [(step_aptm, "tiny"), (step_irra, "tiny-irra"), (step_rde, "tiny-rde")])
def test_both_ways_of_a_step_have_the_same_losses_and_gradients(module, preset):
    case = module.case(preset, "fp32", False, 6)
    results = []
    for way in (case.method, case.published):
        case.method.zero_grad()
        losses = way(case.batch, 3)
        torch.stack(list(losses.values())).sum().backward()
        results.append((losses, {name: parameter.grad.clone() for name, parameter in case.method.named_parameters()}))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, dict(theirs), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "preset", "share"), [("aptm", "tiny", 0.7), ("irra", "tiny-irra", 0.9), ("rde", "tiny-rde", 0.99)])
def test_a_step_is_measured_in_both_ways(monkeypatch, capsys, threads, method, preset, share):
    words = ["--method", method, "--preset", preset, "--batch", 4, "--steps", 1, "--threads", 1, "--dtype", "fp32"]
    machine, ours, published, ratio = printed(monkeypatch, capsys, step, *words)
    assert machine["fp32_gflops"] > 0 and machine["threads"] == 1
    assert (ours["way"], published["way"]) == ("ours", "published") and ours["parameters"] == published["parameters"]
    assert 0 < ours["tflop"] < share * published["tflop"] and ratio["fp32_to_published_fp32_tflop"] < share
    assert all(line["seconds"] > 0 and line["update_seconds"] > 0 and line["peak_mb"] > 100 for line in (ours, published))


def test_the_loader_is_measured_beside_decoding(monkeypatch, capsys, threads):
    sizes = ("--images", 24, "--height", 48, "--batch", 4, "--batches", 1, "--rounds", 1)
    lines = printed(monkeypatch, capsys, loader, *sizes)
    assert [line["benchmark"] for line in lines] == 3 * ["loader.alone", "loader.parts", "loader", "loader", "loader"]
    assert [line["image"] for line in lines] == 5 * [[48, 24]] + 5 * [[48, 16]] + 5 * [[531, 208]]
    assert [line["what"] for line in lines if line["benchmark"] == "loader"] == 3 * ["all", "finished", "worker"]
    assert all(line["ratio_to_work"] > 0 for line in lines if line["benchmark"] == "loader")


def test_all_ways_of_reranking_give_the_same_logits(monkeypatch, capsys, threads):
    words = ["--preset", "tiny", "--dtype", "fp32", "--queries", 5, "--candidates", 7, "--gallery", 80, "--timed", 3, "--threads", 1]
    lines = printed(monkeypatch, capsys, rerank, *words)
    assert [line["way"] for line in lines] == ["cached", "uncached", "published"]
    assert lines[0]["tflop"] < lines[2]["tflop"] and all(line["timed_queries"] == 3 and line["pairs_s"] > 0 for line in lines)
    monkeypatch.setattr(rerank, "measured", lambda work, device: (results.append(work()), (1.0, 1.0, 1.0))[1])
    results: list = []
    printed(monkeypatch, capsys, rerank, *words)
    cached, uncached, published = (result for result in results if result is not None)
    assert cached.shape == (3, 7) and cached.std() > 0
    torch.testing.assert_close(cached, uncached, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(cached, published, atol=1e-4, rtol=1e-3)
