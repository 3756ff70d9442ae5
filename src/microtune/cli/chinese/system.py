"""What Python and the libraries that read files say, as it stands in parentheses or behind a colon in a refusal.

None of it stands in this package, so no test holds it against the source; what is not known here stays as it is.
"""

from __future__ import annotations

SYSTEM: dict[str, str] = {
    # text and JSON
    "'utf-8' codec can't decode byte {byte} in position {number}: {why}": "第 {number} 字节 {byte} 不是有效的 UTF-8",
    "'utf-8' codec can't decode bytes in position {number}: {why}": "第 {number} 字节处不是有效的 UTF-8",
    "'utf-8' codec can't encode character {byte} in position {number}: surrogates not allowed": (
        "第 {number} 个字符 {byte} 是半个代理对"
    ),
    "Expecting value: line {line} column {column} (char {number})": "第 {line} 行第 {column} 列：此处应有一个值",
    "Expecting ',' delimiter: line {line} column {column} (char {number})": "第 {line} 行第 {column} 列：此处应有逗号",
    "Expecting ':' delimiter: line {line} column {column} (char {number})": "第 {line} 行第 {column} 列：此处应有冒号",
    "Expecting property name enclosed in double quotes: line {line} column {column} (char {number})": (
        "第 {line} 行第 {column} 列：此处应有双引号括起来的键"
    ),
    "Illegal trailing comma before end of {kind}: line {line} column {column} (char {number})": (
        "第 {line} 行第 {column} 列：末尾多了一个逗号"
    ),
    "Extra data: line {line} column {column} (char {number})": "第 {line} 行第 {column} 列：后面有多余的内容",
    "Unterminated string starting at: line {line} column {column} (char {number})": (
        "第 {line} 行第 {column} 列：字符串没有结束"
    ),
    "Invalid control character at: line {line} column {column} (char {number})": (
        "第 {line} 行第 {column} 列：含有非法控制字符"
    ),
    "Invalid \\escape: line {line} column {column} (char {number})": "第 {line} 行第 {column} 列：无效的转义",
    "Invalid \\uXXXX escape: line {line} column {column} (char {number})": (
        "第 {line} 行第 {column} 列：无效的 \\uXXXX 转义"
    ),
    "{field}: Unable to parse input string as an integer, exceeded maximum size, not {value}.": (
        "{field}：整数太大（{value}）。"
    ),
    # templates
    "expected '}' before end of string": "缺少右花括号",
    "Single '}' encountered in format string": "多出一个右花括号",
    "Single '{' encountered in format string": "多出一个左花括号",
    "unmatched '{' in format spec": "左花括号没有闭合",
    # YAML
    "mapping values are not allowed here (line {line}).": "这里不能有冒号和值（第 {line} 行）。",
    "mapping values are not allowed in this context (line {line}).": "这里不能有冒号和值（第 {line} 行）。",
    "could not find expected ':' (line {line}).": "缺少冒号（第 {line} 行）。",
    "expected ',' or '{end}', but got '{found}' (line {line}).": "应为 , 或 {end}，却是 {found}（第 {line} 行）。",
    "expected {wanted}, but found '{found}' (line {line}).": "应为 {wanted}，却是 {found}（第 {line} 行）。",
    "expected the node content, but found '{found}' (line {line}).": "此处应有一个值，却是 {found}（第 {line} 行）。",
    "expected alphabetic or numeric character, but found {found} (line {line}).": (
        "应为字母或数字，却是 {found}（第 {line} 行）。"
    ),
    "found character '{found}' that cannot start any token (line {line}).": (
        "不能以字符 {found} 开头（第 {line} 行）；缩进请用空格，值请加引号。"
    ),
    "found unexpected end of stream (line {line}).": "文件在此处突然结束，可能缺少引号（第 {line} 行）。",
    "found undefined alias '{name}' (line {line}).": "没有定义别名 {name}（第 {line} 行）。",
    "found duplicate anchor '{name}' (line {line}).": "锚点 {name} 重复（第 {line} 行）。",
    # packed files, workbooks, Parquet
    "Error -3 while decompressing data: {why}": "数据已损坏",
    "Input format not supported by decoder": "不是这种格式",
    "Corrupt input data": "数据已损坏",
    "File is not a zip file": "不是 ZIP 文件",
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.": (
        "文件末尾没有 Parquet 标记：文件已损坏，或不是 Parquet 文件"
    ),
}
