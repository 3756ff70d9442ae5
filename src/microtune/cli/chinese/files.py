"""What is said about reading data: tables, JSON, spreadsheets, columns of tags, parallel files, limits."""

from __future__ import annotations

FILES: dict[str, str] = {
    # every file
    "{reason}, and limits.{name} is {allowed}; if the data is right, raise limits.{again}=.": (
        "{reason}，而 limits.{name} 为 {allowed}；如果数据无误，请提高 limits.{again}。"
    ),
    "cannot be looked up ({reason}).": "无法查找（{reason}）。",
    "cannot be read as {kind} ({error}).": "无法作为 {kind} 读取（{error}）。",
    "cannot be read as {kind} ({error}: {reason}); write the file again.": (
        "无法作为 {kind} 读取（{error}：{reason}）；请重新生成文件。"
    ),
    'the ending "{ending}" is not known; known are {endings}; or pass format=.': (
        "不认识扩展名“{ending}”；可以读取的有 {endings}；也可以用 format= 指定格式。"
    ),
    'the ending "{ending}" is not known; save it as .xlsx or .csv.': (
        "不支持扩展名“{ending}”；请另存为 .xlsx 或 .csv。"
    ),
    '"{name}" is not an encoding of text; common ones are "utf-8", "utf-16" and "gb18030".': (
        "“{name}”不是文本编码；常用的有 utf-8、utf-16 和 gb18030。"
    ),
    'Unknown encoding "{name}"; common ones are "utf-8", "utf-16", "gb18030" and "latin-1".': (
        "没有编码“{name}”；常用的有 utf-8、utf-16、gb18030 和 latin-1。"
    ),
    "there is half of a surrogate pair in the text, which is not a character; remove it.": (
        "文本中有半个代理对，不是完整的字符；请删去。"
    ),
    "there is a NUL character in the field {field}; remove it.": "字段 {field} 中有 NUL 字符；请删去。",
    # tables
    "a quotation mark opens a field here and the file ends before it is closed; close it, or double it.": (
        "这里有一个字段以引号开始，直到文件结束也没有闭合；请补上引号，或把它写成两个。"
    ),
    "a quotation mark opens a field here that closes {count} lines below, but each of these lines is a row; remove the "
    "marks, or double those that belong to a text.": (
        "这里的引号打开了一个字段，到 {count} 行之后才闭合，而其中每一行本身就是一行数据；请去掉引号，"
        "属于文本的引号请写成两个。"
    ),
    'there is text after the closing quotation mark of a field; write a quotation mark inside a field as "".': (
        '字段的结束引号之后还有文字；字段内的引号请写成两个（""）。'
    ),
    "there is a carriage return inside an unquoted field; quote the field, or remove it.": (
        "没有加引号的字段里有回车符；请给字段加引号，或删去回车符。"
    ),
    "the line cannot be read as a table ({reason}).": "这一行无法作为表格读取（{reason}）。",
    "two columns of the data frame are called {name}; rename one.": "数据表有两列都叫 {name}；请给其中一列改名。",
    # JSON
    "the key {key} stands twice in one object; keep one of them.": "键 {key} 在同一个对象中出现了两次；请只留一个。",
    "the number {number} is too large; write it as a string if it is not a quantity.": (
        "数字 {number} 太大；如果它不表示数量，请写成字符串。"
    ),
    "{text} is not JSON; use null for a missing number.": "{text} 不是 JSON；缺失的数字请写 null。",
    "a number has {digits} digits; write it as a string.": "有一个数字长达 {digits} 位；请写成字符串。",
    "an escape such as \\ud83d is half of a surrogate pair, which is not a character; remove it.": (
        "\\ud83d 这样的转义只是半个代理对，不是完整的字符；请删去。"
    ),
    "the object holds several lists ({names}); keep one, or call the one with rows data.": (
        "对象里有好几个列表（{names}）；请只留一个，或把存放数据行的那个命名为 data。"
    ),
    # spreadsheets
    'reading XLSX needs openpyxl; pip install "microtune[excel]", or save the sheet as CSV.': (
        '读取 XLSX 需要 openpyxl；请执行 pip install "microtune[excel]"，或把工作表另存为 CSV。'
    ),
    "{count} sheets hold rows ({names}); save the one that is meant as its own file.": (
        "有 {count} 个工作表含有数据行（{names}）；请把要用的那个单独存成文件。"
    ),
    "the workbook holds no rows.": "工作簿里没有数据行。",
    "the workbook has {parts} parts; save the sheet as CSV.": "工作簿有 {parts} 个部分；请把工作表另存为 CSV。",
    "the workbook holds a document type declaration; save it again, or as CSV.": (
        "工作簿里含有文档类型声明；请重新保存，或另存为 CSV。"
    ),
    "a sheet has at most {rows} rows; write the file again.": "一个工作表最多 {rows} 行；请重新生成文件。",
    "the sheet has a header and no rows below it.": "工作表只有表头，下面没有数据行。",
    # tagged words
    "one column ({text}); a token and, in the last one, its tag.": (
        "只有一列（{text}）；第一列应为词元，最后一列应为它的标记。"
    ),
    "{cells} columns, but {width} in line {line}; every token needs all.": (
        "这里有 {cells} 列，而第 {line} 行有 {width} 列；每个词元的列数必须相同。"
    ),
    "an empty column; every line needs a token and its tag.": "有一列是空的；每一行都要有词元和它的标记。",
    # parallel files
    "parallel files are plain text, one line each; give a file with rows as DATA.": (
        "平行语料应为纯文本，每行一句；含有数据行的文件请作为 DATA 给出。"
    ),
    "{one} has {count} lines, but {other} has {others}; line i of one must belong to line i of the other, so the files "
    "need equally many.": ("{one} 有 {count} 行，而 {other} 有 {others} 行；两个文件必须逐行对应，行数要相同。"),
    "The {other} file has no {side} file beside it; give both, with --source and --target.": (
        "{other} 文件没有对应的 {side} 文件；请用 --source 和 --target 同时给出两个文件。"
    ),
    "A folder of parallel files is training data; name the two files themselves here.": (
        "平行语料的文件夹只能作训练数据；这里请直接给出两个文件。"
    ),
    "Name the data: a file, a glob, a folder, a recipe (.yaml), or --source and --target.": (
        "请指定数据：文件、通配符、文件夹、配方（.yaml），或 --source 与 --target。"
    ),
    "Name the data: one file, folder or glob, or two files with --source and --target.": (
        "请指定数据：一个文件、文件夹或通配符，或用 --source 与 --target 给出两个文件。"
    ),
    "beside --source and --target, DATA is a folder with parallel files; leave it out.": (
        "与 --source、--target 同时给出时，DATA 只能是平行语料的文件夹；请去掉。"
    ),
    "beside --source and --target, DATA is a folder with parallel files.": (
        "与 --source、--target 同时给出时，DATA 只能是平行语料的文件夹。"
    ),
    "A source is a path, a folder, a glob, a list of dicts or a data frame, not a {kind}.": (
        "数据可以是路径、文件夹、通配符、字典的列表或数据表，不能是 {kind}。"
    ),
    "cannot be read as UTF-8 text ({reason}).": "无法作为 UTF-8 文本读取（{reason}）。",
    "no row has text in {fields}.": "没有一行在 {fields} 中有文本。",
}
