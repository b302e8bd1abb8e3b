"""The paper's own task: sentiments of Chinese restaurant reviews by aspect (paper sections 1.5 and 1.6).

Wording 0 in the baseline design gives the published prompt to the letter. The data are the user's, ASAP or JSONL.
"""

from __future__ import annotations

from collections.abc import Mapping

from sde_ray.tasks.bundled import user_data_only
from sde_ray.tasks.masa import METRICS
from sde_ray.types import PromptNouns, Task

_D1 = ("食品评价", "饮品评价", "价格水平", "卫生情况", "服务人员态度", "停车方便程度")
_D2 = ("交通便利程度", "排队等候情况", "点菜上菜速度", "装修情况", "嘈杂情况")
SLOTS: Mapping[str, tuple[str, ...]] = {"d1": _D1, "d2": _D2, "all": (*_D1, *_D2)}
INSTRUCTIONS = (
    "阅读{where}这段评论，观察以下这些方面：{slots}。请根据评论对这些方面进行情感分析，具体有{count}类情感：{labels}。",
    "请判断{where}这段评论对下列方面的情感：{slots}。情感分为{count}类：{labels}。",
    "{where}是一段餐饮评论。请分析其中涉及{slots}的情感，从{labels}这{count}类中选择。",
)
WORDINGS = {
    "schematic_value": "情感类别",
    "form": '请用以下格式给出所有方面的情感："{schematic}"',
    "form_omit": '请用以下格式给出提及的方面的情感："{schematic}"',
    "omit": '不要输出未提及的方面；如果都未提及，输出："{marker}"。',
    "no_rationale": "评论未提及",
    "plain_rationale": "如评论所述",
}


def _task(domain: str) -> Task:
    name = f"masa_zh:{domain}"
    return Task(
        name=name,
        kind="label",
        language="zh",
        slots=SLOTS[domain],
        nouns=PromptNouns(text="评论", slot="方面", value="情感", rationale="描述"),
        instructions=INSTRUCTIONS,
        metrics=METRICS,
        objective="weighted_kappa",
        load=user_data_only(name, "asap"),
        labels=("正面", "负面", "中性"),
        numbers={"正面": "1", "负面": "-1", "中性": "0", "未提及": "-2"},
        placeholder="未提及",
        domains={"d1": ("masa_zh:d2",), "d2": ("masa_zh:d1",), "all": ()}[domain],
        wordings=WORDINGS,
    )


TASKS = tuple(_task(domain) for domain in SLOTS)

# ASAP's aspects are not the paper's (paper section 1.5): these are its nearest columns; it rates no drinks.
ASAP_COLUMNS: Mapping[str, str] = {
    "食品评价": "dish_taste",
    "价格水平": "price_level",
    "卫生情况": "environment_cleaness",
    "服务人员态度": "service_waiters_attitude",
    "停车方便程度": "service_parking_convenience",
    "交通便利程度": "location_traffic",
    "排队等候情况": "service_wait_time",
    "点菜上菜速度": "service_serving_speed",
    "装修情况": "environment_decoration",
    "嘈杂情况": "environment_noise",
}
