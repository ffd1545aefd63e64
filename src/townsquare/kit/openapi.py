"""Interim."""
from typing import Any
def merge(documents: dict[str, dict[str, Any]]) -> dict[str, Any]: return documents
def developers_page(document: dict[str, Any]) -> str: return ""
