//! Texts with placeholders, read once. Pure.

use crate::reading::Name;

/// A text with placeholders, as configuration gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// What a template can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `{gateway}`: the gateway's id.
    Gateway,
    /// `{upstream}`: the upstream's name.
    Upstream,
    /// `{line}`: the device's line; empty for events of the gateway.
    Line,
    /// `{device}`: empty for events of the gateway.
    Device,
    /// `{scan}`: the scan class; empty for events and descriptions.
    Scan,
    /// `{point}`: empty where a message carries a whole scan.
    Point,
    /// `{label.NAME}`, and with `|text` what stands for a label that a device has not.
    Label {
        /// The label's key.
        key: String,
        /// What stands for a label that is missing or empty; it is not escaped.
        otherwise: Option<String>,
    },
}

/// Why a text is no template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`.
    #[error("this `{{` has no `}}`")]
    Open {
        /// Bytes before it.
        at: usize,
    },
    /// A `}` without its `{`.
    #[error("this `}}` has no `{{`")]
    Close {
        /// Bytes before it.
        at: usize,
    },
    /// A placeholder that does not exist.
    #[error("there is no placeholder `{{{name}}}`; there are {known}", known = Placeholder::KNOWN)]
    Unknown {
        /// Bytes before it.
        at: usize,
        /// What stands between the braces.
        name: String,
    },
}

/// Which characters of a name are escaped, as `%` and two hex digits of the byte: those that have a meaning in the
/// address, control characters, and `%` itself, so that two names never give one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Topics: `/` separates levels, `+` and `#` are wildcards (MQTT 5.0, 4.7).
    Mqtt,
    /// Routing keys: `.` separates words.
    Amqp,
}

/// What placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) gateway: &'a str,
    pub(super) upstream: &'a Name,
    pub(super) line: Option<&'a Name>,
    pub(super) device: Option<&'a Name>,
    pub(super) scan: Option<&'a Name>,
    pub(super) point: Option<&'a Name>,
    pub(super) labels: &'a [(String, String)],
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(place) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(place);
            let at = text.len() - behind.len();
            let Some(inner) = behind.strip_prefix('{') else {
                return Err(TemplateError::Close { at });
            };
            // A brace within braces is the next template's: this one was left open.
            let end = inner.find(['{', '}']).ok_or(TemplateError::Open { at })?;
            let (name, behind) = inner.split_at(end);
            rest = behind.strip_prefix('}').ok_or(TemplateError::Open { at })?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let placeholder = Placeholder::parse(name).ok_or_else(|| TemplateError::Unknown {
                at,
                name: name.to_owned(),
            })?;
            parts.push(Part::Placeholder(placeholder));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The placeholders used, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Placeholder(placeholder) => Some(placeholder),
        })
    }

    /// The text between the placeholders, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Placeholder(_) => None,
        })
    }

    /// With all placeholders replaced.
    pub(super) fn resolve(&self, facts: &Facts<'_>, escape: Escape) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Placeholder(placeholder) => placeholder.append(&mut text, facts, escape),
            }
        }
        text
    }
}

impl Placeholder {
    const KNOWN: &str =
        "{gateway} {upstream} {line} {device} {scan} {point} {label.NAME} {label.NAME|text}";

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gateway" => Self::Gateway,
            "upstream" => Self::Upstream,
            "line" => Self::Line,
            "device" => Self::Device,
            "scan" => Self::Scan,
            "point" => Self::Point,
            _ => {
                let label = name.strip_prefix("label.")?;
                let (key, otherwise) = match label.split_once('|') {
                    Some((key, text)) => (key, Some(text.to_owned())),
                    None => (label, None),
                };
                let key = (!key.is_empty()).then(|| key.to_owned())?;
                Self::Label { key, otherwise }
            }
        })
    }

    fn append(&self, text: &mut String, facts: &Facts<'_>, escape: Escape) {
        let name = |name: Option<&Name>| name.map_or("", Name::as_str).to_owned();
        let value = match self {
            Self::Gateway => facts.gateway.to_owned(),
            Self::Upstream => facts.upstream.to_string(),
            Self::Line => name(facts.line),
            Self::Device => name(facts.device),
            Self::Scan => name(facts.scan),
            Self::Point => name(facts.point),
            Self::Label { key, otherwise } => {
                let label = facts.labels.iter().find(|(label, _)| label == key);
                let label = label.map_or("", |(_, label)| label);
                if let (true, Some(otherwise)) = (label.is_empty(), otherwise) {
                    text.push_str(otherwise);
                    return;
                }
                label.to_owned()
            }
        };
        escape.append(text, &value);
    }
}

impl Escape {
    fn append(self, text: &mut String, value: &str) {
        for c in value.chars() {
            let special = match self {
                Self::Mqtt => matches!(c, '/' | '+' | '#'),
                Self::Amqp => c == '.',
            };
            // All of these are one byte long.
            if special || c == '%' || c.is_ascii_control() {
                text.push_str(&format!("%{:02X}", u32::from(c)));
            } else {
                text.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_placeholder() {
        let text =
            "a{gateway}{upstream}/{line}{device}{scan}{point}{label.area}b{label.x|}{label.x|a/b}";
        let template = Template::parse(text).unwrap();
        let label = |key: &str, otherwise: Option<&str>| Placeholder::Label {
            key: key.to_owned(),
            otherwise: otherwise.map(str::to_owned),
        };
        assert_eq!(
            template.placeholders().cloned().collect::<Vec<_>>(),
            [
                Placeholder::Gateway,
                Placeholder::Upstream,
                Placeholder::Line,
                Placeholder::Device,
                Placeholder::Scan,
                Placeholder::Point,
                label("area", None),
                label("x", Some("")),
                label("x", Some("a/b")),
            ]
        );
        assert_eq!(template.texts().collect::<Vec<_>>(), ["a", "/", "b"]);
        assert_eq!(Template::parse("").unwrap().placeholders().count(), 0);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let unknown = |at, name: &str| TemplateError::Unknown {
            at,
            name: name.to_owned(),
        };
        assert_eq!(
            Template::parse("a/{device"),
            Err(TemplateError::Open { at: 2 })
        );
        assert_eq!(
            Template::parse("a/{{device}}"),
            Err(TemplateError::Open { at: 2 })
        );
        assert_eq!(Template::parse("é}"), Err(TemplateError::Close { at: 2 }));
        assert_eq!(
            Template::parse("{device}{devise}"),
            Err(unknown(8, "devise"))
        );
        assert_eq!(Template::parse("{}"), Err(unknown(0, "")));
        assert_eq!(Template::parse("{label.}"), Err(unknown(0, "label.")));
        let error = Template::parse("{x}").unwrap_err().to_string();
        assert!(
            error.starts_with("there is no placeholder `{x}`"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_or_empty_label_gives_the_text_unescaped() {
        let upstream = Name::new("up").unwrap();
        let labels = [
            ("empty".to_owned(), String::new()),
            ("full".to_owned(), "50 %/\n".to_owned()),
        ];
        let facts = Facts {
            gateway: "g",
            upstream: &upstream,
            line: None,
            device: None,
            scan: None,
            point: None,
            labels: &labels,
        };
        let resolve = |text: &str| Template::parse(text).unwrap().resolve(&facts, Escape::Mqtt);
        assert_eq!(resolve("{label.empty|a/b}-{label.none|c}"), "a/b-c");
        assert_eq!(resolve("[{label.empty}{label.none}]"), "[]");
        assert_eq!(resolve("{label.full|c}"), "50 %25%2F%0A");
    }
}
