//! Factors found, limits kept, mistakes between points: from a draft to the checked map.

use super::MapDraft;
use super::point::{Draft, is_numeric};
use super::raw_type::type_name;
use super::transform::Factor;
use crate::config::log::{Finding, Log, Span};
use crate::config::suggest::did_you_mean;
use crate::field::modbus::map::{Bits, DeviceMap, Names, Point, RawType, Scale};

/// Checks what concerns several points and makes the map of a device.
pub(in crate::config) fn resolve(log: &Log, draft: &MapDraft) -> DeviceMap {
    let mut points: Vec<Point> = draft
        .points
        .iter()
        .map(|draft| draft.point.clone())
        .collect();
    for (point, from) in points.iter_mut().zip(&draft.points) {
        point.transform.scale = from.factor.as_ref().and_then(|factor| {
            factor.resolve(|name, span| find_factor(log, draft, from, name, span))
        });
    }
    refuse_cycles(log, draft, &points);
    check_unused(log, draft, &points);
    check_limits(log, draft);
    check_overlaps(log, draft);
    DeviceMap {
        title: draft.title.clone(),
        source: draft.source.clone(),
        limits: draft.limits,
        quirks: draft.quirks,
        identity: draft.identity.clone(),
        points,
    }
}

fn find_factor(log: &Log, map: &MapDraft, of: &Draft, name: &str, span: Span) -> Option<usize> {
    let by_name = |draft: &Draft| draft.point.name.as_str() == name;
    let Some(index) = map.points.iter().position(by_name) else {
        if !map.faulty.iter().any(|faulty| faulty == name) {
            let names = map.points.iter().map(|draft| draft.point.name.as_str());
            let mend = match did_you_mean(name, names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "add the point; send = false keeps it out of the messages".to_owned(),
            };
            let reason = format!("there is no point {name:?} to scale by");
            log.push(Finding::error(span, reason).mend(mend));
        }
        return None;
    };
    let factor = map.points.get(index)?;
    let transform = &factor.point.transform;
    let numeric = is_numeric(&factor.point.raw, transform.bits, transform.names.as_ref());
    let whole = !matches!(
        factor.point.raw,
        RawType::F32 | RawType::F64 | RawType::PfQuadrant
    );
    let power = matches!(of.factor, Some(Factor::Power10(..)));
    if !numeric || power && !whole {
        let wanted = if power { "whole numbers" } else { "numbers" };
        let finding = Finding::error(
            span,
            format!("point {name:?} sends no {wanted} to scale by"),
        );
        let finding = finding.also(factor.span, "the point");
        log.push(finding.mend("name the point that holds the factor"));
        return None;
    }
    Some(index)
}

/// A factor's own scale acts first, so a chain of factors must end.
fn refuse_cycles(log: &Log, draft: &MapDraft, points: &[Point]) {
    let next = |index: usize| match points.get(index)?.transform.scale? {
        Scale::Power10(factor) | Scale::Point(factor, _) => Some(factor),
        Scale::Number(_) => None,
    };
    for (index, from) in draft.points.iter().enumerate() {
        let mut at = next(index);
        for _ in 0..LONGEST_CHAIN {
            at = at.and_then(next);
        }
        if at.is_some() {
            let reason = format!(
                "the factor of `{}` is scaled by itself, or over too many points",
                from.point.name
            );
            let span = match &from.factor {
                Some(Factor::Power10(_, span) | Factor::Point(_, span, _)) => *span,
                _ => from.span,
            };
            let mend = "a chain of factors must end at a point that is not scaled by another";
            log.push(Finding::error(span, reason).mend(mend));
        }
    }
}

/// Most points that a value is scaled by, one by the other; real devices need one.
const LONGEST_CHAIN: usize = 8;

/// A point that is neither sent nor a factor is read in vain.
fn check_unused(log: &Log, draft: &MapDraft, points: &[Point]) {
    let mut used = vec![false; points.len()];
    for point in points {
        if let Some(Scale::Power10(index) | Scale::Point(index, _)) = point.transform.scale
            && let Some(used) = used.get_mut(index)
        {
            *used = true;
        }
    }
    for (from, used) in draft.points.iter().zip(used) {
        if !from.point.send && !used {
            let reason = format!(
                "`{}` is not sent, and no point is scaled by it",
                from.point.name
            );
            log.push(
                Finding::warning(from.span, reason).mend("remove it, or name it in a `scale`"),
            );
        }
    }
}

/// A point is never split over two requests.
fn check_limits(log: &Log, map: &MapDraft) {
    for draft in &map.points {
        let most = map.limits.registers_per_read;
        let width = draft.point.raw.width();
        if !draft.point.table.is_bits() && width > most {
            let reason = format!(
                "`{}` is {width} registers long, and one read takes {most} (registers_per_read)",
                draft.point.name
            );
            log.push(Finding::error(draft.span, reason).mend("shorten it, or raise the limit"));
        }
    }
}

/// Two points over the same registers that take them for different things: one of the two is wrong.
fn check_overlaps(log: &Log, map: &MapDraft) {
    let mut sorted: Vec<&Draft> = map
        .points
        .iter()
        .filter(|draft| !is_part(&draft.point))
        .collect();
    sorted.sort_by_key(|draft| (draft.point.table, draft.point.address));
    // The point that reaches furthest so far is the one that can overlap.
    let mut furthest: Option<&Draft> = None;
    for draft in sorted {
        if let Some(before) = furthest.filter(|before| overlap(&before.point, &draft.point)) {
            let reason = format!(
                "`{}` ({}) and `{}` ({}) are read from the same registers",
                before.point.name,
                extent(&before.point),
                draft.point.name,
                extent(&draft.point)
            );
            let (first, second) = (before.span.min(draft.span), before.span.max(draft.span));
            let finding = Finding::warning(second, reason).also(first, "the other point");
            log.push(finding.mend("one address or type is wrong"));
        }
        let end = |point: &Point| {
            (
                point.table,
                u32::from(point.address) + u32::from(point.raw.width()),
            )
        };
        if furthest.is_none_or(|before| end(&before.point) < end(&draft.point)) {
            furthest = Some(draft);
        }
    }
}

/// Bits, bytes, flags and hex dumps are views of a register beside others.
fn is_part(point: &Point) -> bool {
    matches!(point.transform.bits, Some(Bits::One(_) | Bits::Range(..)))
        || matches!(point.transform.names, Some(Names::Flags(_)))
        || matches!(
            point.raw,
            RawType::Bool | RawType::U8(_) | RawType::I8(_) | RawType::Bytes(_)
        )
}

fn overlap(first: &Point, second: &Point) -> bool {
    let end = u32::from(first.address) + u32::from(first.raw.width());
    let same =
        first.address == second.address && first.raw == second.raw && first.order == second.order;
    first.table == second.table && u32::from(second.address) < end && !same
}

fn extent(point: &Point) -> String {
    let last = u32::from(point.address) + u32::from(point.raw.width()) - 1;
    let table = point.table.as_str();
    let name = type_name(&point.raw);
    if last == u32::from(point.address) {
        format!("{name}, {table} {last}")
    } else {
        format!("{name}, {table} {}-{last}", point.address)
    }
}
