"""Huawei-style portal of old boxes, China Telecom (CTC) and China Unicom (CU) faces; stb_protocols §2."""

from __future__ import annotations

from edge_server.portal.huawei.dialect import HuaweiDialect

DIALECT = HuaweiDialect()
