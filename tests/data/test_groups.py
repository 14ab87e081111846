"""Sets of images that belong together."""

from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import DisjointSet

from inspection.data.groups import first_members


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_first_members_are_those_of_a_naive_partition(drawn):
    n_items, joins = drawn
    joined, sets = DisjointSet(range(n_items)), [{item} for item in range(n_items)]
    for one, other in joins:
        joined.merge(one, other)
        together = set().union(*(members for members in sets if members & {one, other}))
        sets = [members for members in sets if not members & together] + [together]
    expected = [min(members) for item in range(n_items) for members in sets if item in members]
    assert first_members(joined).tolist() == expected
