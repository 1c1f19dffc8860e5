"""Pictures of the witnesses."""
