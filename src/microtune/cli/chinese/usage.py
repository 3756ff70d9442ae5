"""What the parser of the command line says about options and arguments, and how a command ends that nobody refused.

`USAGE` holds the words of typer, which calls click or brings its own copy of it; the versions word a few things
differently. None of it stands in this package, so the tests hold it against what the parser really says.
"""

from __future__ import annotations

ENDINGS: dict[str, str] = {
    "stopped": "已停止",
    "not enough memory; lower train.micro_tokens or choose a smaller model": (
        "内存不足；请减小 train.micro_tokens，或换用较小的模型"
    ),
    "internal error ({name}: {text}); please report it with the output of --debug": (
        "内部错误（{name}: {text}）；请加 --debug 再执行一次，并把输出一起报告"
    ),
    'There is no command "{command}"; here it is `microtune {verb}`.': (
        "没有命令“{command}”；这里用 `microtune {verb}`。"
    ),
    'There is no command "{command}" yet; `microtune --help` shows what there is.': (
        "还没有命令“{command}”；`microtune --help` 列出全部命令。"
    ),
    "There is no option --{name}; here it is {option}.": "没有选项 --{name}；这里用 {option}。",
    "There is no option --{name}; write {key}=VALUE behind the data or the recipe.": (
        "没有选项 --{name}；请在数据或配方后面写 {key}=值。"
    ),
}
HINTS = {
    " (microtune --help shows what there is)": "（microtune --help 列出全部用法）",
    " (microtune {page} --help shows what there is)": "（microtune {page} --help 列出全部用法）",
}  # one stands behind everything that the parser says
_OF_THE_PARSER: dict[str, str] = {
    "No such option: {option}": "没有选项 {option}",
    "No such option '{option}'.": "没有选项 {option}",
    "No such option: {option} (Possible options: {near})": "没有选项 {option}，相近的有 {near}",
    "No such option: {option} Did you mean {near}?": "没有选项 {option}，是不是 {near}？",
    "No such option '{option}'. Did you mean {near}?": "没有选项 {option}，是不是 {near}？",
    "No such option '{option}'. Did you mean one of: {near}?": "没有选项 {option}，相近的有 {near}",
    "No such command '{command}'.": "没有命令“{command}”",
    "No such command '{command}'. Did you mean '{near}'?": "没有命令“{command}”，是不是“{near}”？",
    "No such command '{command}'. Did you mean one of: {near}?": "没有命令“{command}”，相近的有 {near}",
    "Missing argument '{argument}'.": "缺少参数 {argument}",
    "Missing option '{option}'.": "缺少选项 {option}",
    "Missing command.": "缺少命令",
    "Option '{option}' requires an argument.": "选项 {option} 后面缺少值",
    "Option '{option}' does not take a value.": "选项 {option} 后面不能带值",
    "Got unexpected extra argument ({extra})": "多出参数 {extra}",
    "Got unexpected extra arguments ({extra})": "多出参数 {extra}",
    "Got unexpected extra argument(s) ({extra})": "多出参数 {extra}",
    "Invalid value for '{option}': Input should be a valid number, unable to parse string as a number": (
        "选项 {option} 的值应为数字"
    ),
    "Invalid value for '{option}': Input should be a valid integer, unable to parse string as an integer": (
        "选项 {option} 的值应为整数"
    ),
    "Invalid value for '{option}': Unable to parse input string as an integer, exceeded maximum size": (
        "选项 {option} 的值是太大的整数"
    ),
    "Invalid value for '{option}': '{value}' is not a valid float.": "选项 {option} 的值应为数字，而不是 {value}",
    "Invalid value for '{option}': '{value}' is not a valid integer.": "选项 {option} 的值应为整数，而不是 {value}",
}
USAGE = {english + hint: chinese + page for english, chinese in _OF_THE_PARSER.items() for hint, page in HINTS.items()}
