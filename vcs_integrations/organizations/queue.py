"""Refreshing organizations as they are due: their health and their repositories."""

import logging
from datetime import datetime, timedelta

from django.utils import timezone

from core.leases import Keeping
from core.transactions import DATABASE_IS_AWAY
from vcs_integrations.models import REFRESH_EVERY, Integration
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND

logger = logging.getLogger(__name__)

# A dead worker's organizations are claimed by others after this.
LEASE = timedelta(minutes=1)


def refresh_next() -> bool:
    """Refresh the organization that has been due longest; False if none is."""
    integration = Integration.objects.claim_one(LEASE)
    if integration is None:
        return False
    try:
        with Keeping([integration], LEASE):
            refresh(integration, BACKGROUND)
    except DATABASE_IS_AWAY:  # it is claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other organizations
        logger.exception("Refreshing %s failed", integration)
        next_at: datetime | None = timezone.now() + REFRESH_EVERY
    else:
        next_at = integration.due_at  # the refresh has stored when it is due again
    integration.release(next_at, failures=integration.failures)
    return True
