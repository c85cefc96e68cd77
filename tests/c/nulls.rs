//! Writes the C of `tests/c/nulls.c` that nobody can forget to write: for each function of the
//! header and each pointer that it takes, a call with NULL there and nothing else wrong; for each
//! struct that may grow, calls with every kind of `struct_size`.
//!
//! What a NULL must do is what the header says of that parameter. Values for the other parameters
//! have the names of their types: `some_config` for a `hotstuff_config *`. A type that is new in
//! the header has no such value yet, and does not compile: its fixture in nulls.c is missing.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Where a function can be called: what only callbacks are given exists only there.
const STAGES: &[(&str, &[&str])] = &[
    (
        "in_propose_block",
        &["hotstuff_propose_block_request", "hotstuff_updates"],
    ),
    ("in_validate_block", &["hotstuff_validate_block_request"]),
    ("in_receive", &["hotstuff_inbox"]),
    ("in_on_event", &["hotstuff_event"]),
];
const ELSEWHERE: &str = "outside_callbacks";

/// A function that the header declares.
struct Function {
    comment: String,
    result: String,
    name: String,
    parameters: Vec<Parameter>,
}

struct Parameter {
    /// As in C: `const hotstuff_config *`.
    kind: String,
    name: String,
}

impl Parameter {
    fn is_pointer(&self) -> bool {
        self.kind.ends_with('*') && self.kind != "void *"
    }

    /// The type behind the pointer, or behind the pointer to a pointer, without `const`.
    fn noun(&self) -> &str {
        let kind = self.kind.trim_start_matches("const ");
        kind.trim_end_matches('*').trim_end()
    }

    /// A place for a new object.
    fn is_place_of_handle(&self) -> bool {
        self.kind.ends_with("**")
    }

    /// The fixture of a `const uint8_t *`.
    fn bytes(&self) -> &'static str {
        if self.name == "evidence" {
            "EVIDENCE"
        } else {
            "some_bytes"
        }
    }

    fn is_written(&self) -> bool {
        self.is_pointer() && !self.kind.starts_with("const ")
    }
}

impl Function {
    /// Whether the header allows NULL for this parameter.
    fn allows_null(&self, name: &str) -> bool {
        let mut rest = self.comment.split("@param ").skip(1);
        let text = rest.find(|text| text.split_whitespace().next() == Some(name));
        let text = text.unwrap_or_else(|| panic!("{}: nothing is said of {name}", self.name));
        let text = text.split("@retval").next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        let is_a_mistake = self.comment.contains("HOTSTUFF_E_NULL for NULL");
        !is_a_mistake && (text.contains("may be NULL") || text.contains("NULL is a no-op"))
    }

    fn stage(&self) -> &'static str {
        let takes = |nouns: &[&str]| self.parameters.iter().any(|p| nouns.contains(&p.noun()));
        let stage = STAGES.iter().find(|(_, nouns)| takes(nouns));
        stage.map_or(ELSEWHERE, |(stage, _)| stage)
    }

    /// A C function with the call in which parameter `at` is NULL.
    fn call_with_null(&self, at: usize, known: &Known) -> String {
        let mut before = String::new();
        let mut after = String::new();
        let mut arguments = Vec::new();
        let may_be_null = self.allows_null(&self.parameters[at].name);
        for i in 0..self.parameters.len() {
            if i == at {
                arguments.push("NULL".to_owned());
                continue;
            }
            let argument = self.argument(i, known);
            before += &argument.before;
            if !may_be_null && self.result == "hotstuff_status" {
                after += &argument.after_failure;
            }
            after += &argument.after;
            arguments.push(argument.value);
        }
        let call = format!("{}({})", self.name, arguments.join(", "));
        let checked = match self.result.as_str() {
            "void" => format!("{call};\n    CHECK(1);"),
            "hotstuff_status" if may_be_null => format!("CHECK({call} != HOTSTUFF_E_NULL);"),
            "hotstuff_status" => format!("EXPECT(HOTSTUFF_E_NULL, {call});"),
            "const char *" => format!("CHECK({call} != NULL);"),
            _ if may_be_null => format!("(void){call};\n    CHECK(1);"),
            _ => format!("CHECK({call} == 0);"),
        };
        format!(
            "/* {} */\nstatic void {}(void)\n{{\n{before}    {checked}\n{after}}}\n\n",
            self.parameters[at].name,
            self.test_name(at)
        )
    }

    fn test_name(&self, at: usize) -> String {
        format!("{}_{at}", self.name)
    }

    /// A value for parameter `i` with which nothing is wrong.
    fn argument(&self, i: usize, known: &Known) -> Argument {
        let parameter = &self.parameters[i];
        let noun = parameter.noun();
        let own = format!("p{i}");
        if !parameter.is_pointer() {
            let before = i.checked_sub(1).map(|before| &self.parameters[before]);
            let bytes = before.filter(|before| before.noun() == "uint8_t");
            return Argument::value(match (parameter.kind.as_str(), bytes) {
                ("size_t", Some(bytes)) => format!("sizeof {}", bytes.bytes()),
                ("void *" | "hotstuff_log_fn", _) => "NULL".to_owned(),
                ("size_t", _) if self.name.ends_with("_init") => "64".to_owned(),
                ("size_t", _) => "0".to_owned(),
                _ => "1".to_owned(),
            });
        }
        if parameter.is_place_of_handle() {
            return Argument::place_of_handle(&own, noun);
        }
        match noun {
            "char" => return Argument::value("some_text".to_owned()),
            "uint8_t" => return Argument::value(parameter.bytes().to_owned()),
            _ => {}
        }
        let some = noun.replacen("hotstuff_", "some_", 1);
        if known.opaque.contains(noun) {
            return Argument::value(some);
        }
        if !parameter.is_written() {
            return Argument::value(format!("&{some}"));
        }
        Argument::place_of_value(&own, noun, known.growing.contains(noun))
    }
}

struct Argument {
    value: String,
    before: String,
    after_failure: String,
    after: String,
}

impl Argument {
    fn value(value: String) -> Argument {
        Argument {
            value,
            before: String::new(),
            after_failure: String::new(),
            after: String::new(),
        }
    }

    /// A `hotstuff_T **`: it is NULL after a failure, but that an error tells of the failure.
    fn place_of_handle(own: &str, noun: &str) -> Argument {
        let is_error = noun == "hotstuff_error";
        let wanted = if is_error { "!=" } else { "==" };
        Argument {
            value: format!("&{own}"),
            before: format!("    {noun} *{own} = ({noun} *)(void *)some_bytes;\n"),
            after_failure: format!("    CHECK({own} {wanted} NULL);\n"),
            after: format!("    {noun}_free({own});\n"),
        }
    }

    /// A plain `V *`: a failure leaves it as it was.
    fn place_of_value(own: &str, noun: &str, is_growing: bool) -> Argument {
        let init = if is_growing {
            format!("    {noun}_init(&{own}, sizeof {own});\n")
        } else {
            String::new()
        };
        Argument {
            value: format!("&{own}"),
            before: format!(
                "    {noun} {own}, {own}_before;\n    memset(&{own}, 0x5a, sizeof {own});\n{init}\
                 \x20   memcpy(&{own}_before, &{own}, sizeof {own});\n"
            ),
            after_failure: format!(
                "    CHECK(memcmp(&{own}, &{own}_before, sizeof {own}) == 0);\n"
            ),
            after: String::new(),
        }
    }
}

/// The types of the header.
struct Known {
    opaque: BTreeSet<String>,
    /// Structs whose first member is `struct_size`.
    growing: BTreeSet<String>,
}

impl Known {
    fn read(header: &str) -> Known {
        let opaque = header.lines().filter_map(|line| {
            let mut words = line.strip_prefix("typedef struct ")?.split_whitespace();
            let name = words.next()?;
            (words.next()?.trim_end_matches(';') == name).then(|| name.to_owned())
        });
        let growing = header.split("typedef struct ").skip(1).filter_map(|text| {
            let (name, body) = text.split_once(" {")?;
            let code = body.lines().map(str::trim).find(|line| {
                !line.is_empty() && !line.starts_with("/*") && !line.starts_with('*')
            })?;
            (code == "size_t struct_size;").then(|| name.to_owned())
        });
        Known {
            opaque: opaque.collect(),
            growing: growing.collect(),
        }
    }
}

fn functions(header: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut comment = String::new();
    let mut code: Option<String> = None;
    for line in header.lines() {
        if line == "/**" {
            comment.clear();
        } else if line.starts_with(" *") && code.is_none() {
            comment += line.trim_start_matches(" *");
            comment.push('\n');
        } else if line.starts_with("HOTSTUFF_API") || code.is_some() {
            let code_so_far = code.get_or_insert_with(String::new);
            code_so_far.push(' ');
            code_so_far.push_str(line);
            if line.ends_with(';') {
                found.push(function(&comment, &code.take().expect("it was begun")));
            }
        }
    }
    found
}

fn function(comment: &str, code: &str) -> Function {
    let words: Vec<&str> = code
        .split_whitespace()
        .filter(|word| !["HOTSTUFF_API", "HOTSTUFF_NODISCARD"].contains(word))
        .collect();
    let code = words.join(" ");
    let (head, tail) = code.split_once('(').expect("a function");
    let (result, name) = split_name(head);
    let list = tail.trim_end_matches([';', ')']);
    let parameters = list.split(',').filter(|text| *text != "void").map(|text| {
        let (kind, name) = split_name(text.trim());
        Parameter { kind, name }
    });
    Function {
        comment: comment.to_owned(),
        result,
        name,
        parameters: parameters.collect(),
    }
}

/// `const char *text` is `const char *` and `text`.
fn split_name(text: &str) -> (String, String) {
    let at = text.rfind([' ', '*']).expect("a type and a name") + 1;
    (text[..at].trim_end().to_owned(), text[at..].to_owned())
}

/// The C text.
pub fn generate(header: &str) -> String {
    let known = Known::read(header);
    let functions = functions(header);
    let mut text = String::from("/* Written by tests/c/nulls.rs from include/hotstuff.h. */\n\n");
    let mut calls = 0;
    let stages = STAGES.iter().map(|(stage, _)| *stage).chain([ELSEWHERE]);
    let mut runs = String::new();
    for stage in stages {
        let _ = write!(runs, "static void nulls_{stage}(void)\n{{\n");
        for function in functions.iter().filter(|f| f.stage() == stage) {
            let pointers =
                (0..function.parameters.len()).filter(|i| function.parameters[*i].is_pointer());
            for at in pointers {
                text += &function.call_with_null(at, &known);
                let _ = writeln!(runs, "    {}();", function.test_name(at));
                calls += 1;
            }
        }
        runs += "}\n\n";
    }
    text += &runs;
    text += "static void structs_of_every_size(void)\n{\n";
    for noun in &known.growing {
        let _ = writeln!(text, "    SIZES({noun});");
    }
    text += "}\n";
    assert!(
        known.growing.len() >= 6 && calls > 150,
        "the header was not understood"
    );
    text
}
