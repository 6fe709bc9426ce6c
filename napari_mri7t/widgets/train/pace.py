"""How long the chosen folds take on this computer: measured by one step of their training."""

from __future__ import annotations

from napari_mri7t.widgets.shared.labels import TextLabel
from napari_mri7t.widgets.shared.latest import Latest
from napari_mri7t.widgets.train.jobs import Request, describe_amount, pace_of, without_amounts


class TimeLabel(TextLabel):
    """One line; the pace is measured once for each network, patch size and the like."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self._asked: Request | None = None
        self.pace: tuple[Request, float] | None = None  # seconds for a patch
        self._measuring = Latest("Measure a training step", self)
        self._measuring.answered.connect(self._keep)
        self.tell(None)

    def tell(self, request: Request | None) -> None:
        """Show how long a request takes; None: nothing can be trained now."""
        self._asked, text = request, ""
        if request is None:
            self._measuring.drop()
        elif self.pace is not None and self.pace[0] == without_amounts(request):
            text = describe_amount(request, self.pace[1])
        else:
            self._measuring.ask(pace_of, without_amounts(request))
        self.setText(text)
        self.setVisible(bool(text))

    def _keep(self, pace: tuple[Request, float]) -> None:
        self.pace = pace
        self.tell(self._asked)
