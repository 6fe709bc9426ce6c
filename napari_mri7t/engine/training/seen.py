"""Whether a model was trained on a person: by name, by volume, or by the coarse anatomy."""

from napari_mri7t.engine.datasets.names import person_of
from napari_mri7t.engine.models.card import (
    FINGERPRINTS,
    ModelCard,
    has_seen,
    seen_digests,
    seen_subjects,
)
from napari_mri7t.engine.training.data import SubjectDigests
from napari_mri7t.engine.volumes.fingerprint import are_one_brain


def was_trained_on(card: ModelCard, name: str, digests: SubjectDigests | None = None) -> bool:
    """Return whether a model was trained on a person, or on a copy that was changed a little.

    Parameters
    ----------
    card : ModelCard
    name : str
        Of the person's scan; another session, case or encoding of the name is the same person.
    digests : SubjectDigests, optional
        Of the scans; names alone are compared without them.
    """
    if person_of(name) in {person_of(each) for each in seen_subjects(card)}:
        return True
    if digests is None:
        return has_seen(card, name)
    known, anatomy = seen_digests(card)[FINGERPRINTS], digests.target.fingerprint
    return has_seen(card, name, digests.all()) or any(are_one_brain(anatomy, x) for x in known)
