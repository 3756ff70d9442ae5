"""What pydantic says of a field that is too short, too long or of another form; none of it stands in this package."""

from __future__ import annotations

SCHEMA: dict[str, str] = {
    "{field}: the value should have at least {least} item, not {value}.": "{field}：至少要有 {least} 项（{value}）。",
    "{field}: the value should have at least {least} items, not {value}.": "{field}：至少要有 {least} 项（{value}）。",
    "{field}: the value should have at most {most} item, not {value}.": "{field}：最多 {most} 项（{value}）。",
    "{field}: the value should have at most {most} items, not {value}.": "{field}：最多 {most} 项（{value}）。",
    "{field}: the value should have at least {least} character, not {value}.": "{field}：不能为空（{value}）。",
    "{field}: the value should have at least {least} characters, not {value}.": (
        "{field}：至少要有 {least} 个字符（{value}）。"
    ),
    "{field}: the value should have at most {most} character, not {value}.": (
        "{field}：最多 {most} 个字符（{value}）。"
    ),
    "{field}: the value should have at most {most} characters, not {value}.": (
        "{field}：最多 {most} 个字符（{value}）。"
    ),
    "{field}: the value should match pattern {pattern}, not {value}.": (
        "{field}：应符合模式 {pattern}，而不是 {value}。"
    ),
    "{field}: Keys should be strings, not {value}.": "{field}：键应为字符串，而不是 {value}。",
}
