"""What each alert is for, as rows: series under which it stays silent, series under which it fires, and what it says then. promtool judges them."""

import json
from collections import namedtuple

import chart

RULES = chart.CHART / "files" / "alerts.yaml"
INTERVAL_S = 60

# `series`: their names and labels. `silent`, `fires`: values of each, one a minute, as promtool writes them. `at`: the minute in which it is looked for.
# `labels`: those that it carries beside its severity. `says`: its summary.
Row = namedtuple("Row", "alert series silent fires at labels says", defaults=[{}, ""])
PROXY = '{instance="p0"}'
P0 = {"instance": "p0"}
SPOOL = [f"waybill_spool_bytes{PROXY}", f"waybill_spool_bound_bytes{PROXY}"]
ROWS = [
    Row("WaybillUsageMissing", ['waybill_billing_gap_oldest_seconds{instance="c0"}', 'waybill_billing_gap_oldest_seconds{instance="c1"}'], ["0x5", "600x5"], ["0x5", "900x5"], 4, {},
        "Usage is missing from the ledger for 15m 0s"),
    # A gap that closes within the minute is no alarm.
    Row("WaybillUsageMissing", ["waybill_billing_gap_oldest_seconds"], ["0 0 0 900 0"], ["601x5"], 3, {}, "Usage is missing from the ledger for 10m 1s"),
    Row("WaybillSpoolFilling", SPOOL, ["70x5", "100x5"], ["71x5", "100x5"], 4, P0, "The spool of p0 is 71% full; at 100 % its requests are refused"),
    Row("WaybillSpoolFull", SPOOL, ["90x5", "100x5"], ["91x5", "100x5"], 1, P0, "The spool of p0 is nearly full: 91%"),
    Row("WaybillUsageWaits", [f"waybill_spool_oldest_seconds{PROXY}"], ["300x5"], ["301x5"], 1, P0, "Usage of p0 has been waiting for 5m 1s"),
    Row("WaybillSpoolDamaged", [f"waybill_spool_damage_total{PROXY}"], ["0x90"], ["0x30 1x60"], 85, P0, "A part of the spool of p0 cannot be read"),
    # Found at its start, before anybody has looked.
    Row("WaybillSpoolDamaged", [f"waybill_spool_damage_total{PROXY}"], ["0x5"], ["1x5"], 1, P0, "A part of the spool of p0 cannot be read"),
    Row("WaybillUnbilled", [f'waybill_unbilled_requests_total{{instance="p0",worker="0"}}', f'waybill_unbilled_requests_total{{instance="p0",worker="1"}}'], ["7x30", "0x30"], ["7x10 9x20", "0x10 1x20"], 15, P0,
        "p0 has served requests that nobody will be billed for"),
    Row("WaybillRecordsSetAside", ["waybill_ledger_quarantine"], ["0x5"], ["3x5"], 1, {}, "3 usage records lie in quarantine"),
    Row("WaybillLedgerBehind", ['waybill_ledger_failures{instance="b0"}'], ["0 5 0 5 0"], ["5x5"], 4, {"instance": "b0"}, "b0 cannot write to the ledger"),
    Row("WaybillPartitionStopped", ['waybill_consumer_stopped{instance="b0"}'], ["0x5"], ["2x5"], 1, {"instance": "b0"}, "2 partitions of b0 wait for an operator's decision"),
    Row("WaybillOrphans", ["waybill_ledger_orphans"], ["101x50 0x30"], ["101x80"], 70, {}, "101 attempts have an end that nobody saw"),
    Row("WaybillProxyStale", [f"waybill_stale_seconds{PROXY}"], ["300x5"], ["301x5"], 1, P0, "p0 serves a configuration that is 5m 1s old"),
    Row("WaybillProxiesRefuse", ["waybill_proxies_refusing"], ["0 2 0 2 0"], ["2x5"], 4, {}, "2 proxies refuse a part of the configuration"),
    Row("WaybillStoreAway", ['waybill_store_up{instance="c0"}', 'waybill_store_up{instance="c1"}'], ["1x5", "1 0 1 0 1"], ["1x5", "0x5"], 4, {},
        "The control plane cannot reach its store: the configuration cannot be changed"),
    Row("WaybillLedgerAway", ['waybill_ledger_up{instance="c0"}', 'waybill_ledger_up{instance="c1"}'], ["1x5", "1 0 1 0 1"], ["1x5", "0x5"], 4, {}, "The control plane cannot reach the ledger"),
    Row("WaybillCertificateExpires", [f"waybill_certificate_expiry_seconds{PROXY}"], ["1209600x5"], ["1209599x5"], 1, P0, "The certificate of p0 expires in 13d 23h 59m 59s"),
    Row("WaybillRefusals", ["waybill_refusals_total", "waybill_requests_total"], ["0+5x30", "0+100x30"], ["0+20x30", "0+100x30"], 25, {}, "20% of requests are refused"),
    # No request at all is no refusal.
    Row("WaybillRefusals", ["waybill_refusals_total", "waybill_requests_total"], ["0x30", "0x30"], ["0+50x30", "0+100x30"], 25, {}, "50% of requests are refused"),
    Row("WaybillFailovers", ["waybill_failovers_total", "waybill_requests_total"], ["0+20x30", "0+100x30"], ["0+30x30", "0+100x30"], 25, {}, "30% of requests needed a second endpoint"),
]


def rules():
    """Every alert by its name."""
    (document,) = chart.loads(RULES.read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def tests():
    """The rows as promtool's unit tests."""
    known = rules()
    missing = set(known) ^ {row.alert for row in ROWS}
    assert not missing, f"alerts without a row, or rows without an alert: {sorted(missing)}"
    made = []
    for row in ROWS:
        rule = known[row.alert]
        annotations = {"summary": row.says, "runbook": rule["annotations"]["runbook"]}
        fired = [{"exp_labels": {**row.labels, **rule["labels"]}, "exp_annotations": annotations}]
        for values, expected in ((row.silent, []), (row.fires, fired)):
            made.append({
                "interval": f"{INTERVAL_S}s",
                "input_series": [{"series": series, "values": text} for series, text in zip(row.series, values, strict=True)],
                "alert_rule_test": [{"eval_time": f"{row.at}m", "alertname": row.alert, "exp_alerts": expected}],
            })
    return json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{INTERVAL_S}s", "tests": made}, indent=1)
