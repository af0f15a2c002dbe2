"""What the partner services agree on: topics, and the partners that are refused so that an undo can be seen."""

from typing import Final

PARTNER_EVENTS: Final = "eventos-partners"
COMMANDS: Final = "gestion-de-integraciones"
ANSWERS: Final = "administracion-financiera-compliance"

REFUSED_EMAIL: Final = "rechazado@example.com"
"""`integraciones` refuses this partner: nothing is done, nothing has to be undone."""
UNALLIED_EMAIL: Final = "sin-alianza@example.com"
"""`integraciones` takes this partner, and gives it an id that `alianzas` refuses: the partner is deleted again."""
UNALLIED_PREFIX: Final = "b10cb10c-"
