"""What the study of families searches, continues and claims."""

import numpy as np
import pytest

from infflow.studies.families.claims import PUBLISHED, QUICK, Setting, average_loss, run
from infflow.studies.families.runs import erf_branch, more_students, search
from infflow.studies.landscape_atlas.claims import average_loss as atlas_loss


@pytest.mark.parametrize(("k", "off"), [(6, 1), (20, 3), (100, 32), (100, 50)])
def test_searches_end_where_students_are_off(k, off):
    fam, z, loss, converged = search(k, off)
    own = fam.unpack(z).own
    assert converged and loss > 0.01 / k and own[0] < -0.5 and own[1] > 0.9


def test_the_formula_of_averages_is_that_of_the_atlas():
    for m in (1, 2, 3, 7):
        assert average_loss(m) == pytest.approx(atlas_loss(m), abs=1e-15)


def test_a_split_student_keeps_the_loss():
    row = more_students(8, 7.0)
    assert abs(row["split_loss_change"]) < 1e-14
    assert row["split_index"] > 0 and row["end_loss"] < row["spurious_loss"]


def test_averages_in_real_numbers():
    row = erf_branch(2, 2.0, 3.0)
    np.testing.assert_allclose(row["loss"], average_loss(row["parameter"]), atol=1e-13)
    assert set(row["index"]) == {0}


def test_claims_of_a_quick_run():
    result = run(QUICK, progress=False)
    held = {claim.sentence: claim.held for claim in result.claims()}
    refuted = [sentence for sentence, each in held.items() if not each]
    # one student more than teachers moves the minimum, and does not remove it
    assert refuted == ["Gradient flow from that saddle reaches loss zero."]


def test_the_full_setting_has_all_published_points():
    asked = {sum(blocks) for blocks, _, _ in PUBLISHED}
    assert asked <= set(Setting().k)
