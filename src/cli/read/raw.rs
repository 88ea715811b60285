//! Registers and bits that no map describes, with everything they could mean.

use std::process::ExitCode;

use serde_json::{Map, json};

use super::{Answer, Places, ReadArguments, block_on, columns, json_for, place, words_for};
use crate::cli::columns::Cell;
use crate::cli::{FAILED, values};
use crate::field::FieldError;
use crate::field::modbus::map::Table;
use crate::field::modbus::survey::{Guess, Row, orders, survey};
use crate::field::once::read_places;
use crate::field::settings::Transport;

pub(super) fn read(arguments: &ReadArguments, transport: &Transport, places: Places) -> Answer {
    let reading = read_places(
        transport,
        (arguments.unit, places.table),
        (places.address, places.count),
        arguments.timeout,
    );
    let result = block_on(reading)?;
    let code = match &result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    };
    let text = if arguments.json {
        format!("{}\n", as_json(places, arguments.unit, transport, &result))
    } else {
        as_text(
            places,
            arguments.unit,
            transport,
            &result,
            columns::colour(),
        )
    };
    Ok((text, code))
}

fn as_text(
    places: Places,
    unit: u8,
    transport: &Transport,
    result: &Result<Vec<u16>, FieldError>,
    colour: bool,
) -> String {
    let Places {
        table,
        address,
        count,
    } = places;
    let last = address.saturating_add(count - 1);
    let name = table.as_str();
    let (first_ref, last_ref) = (table.reference(address), table.reference(last));
    let head = format!(
        "{name} {address} to {last} of unit {unit}, {}\non the wire 0x{address:04X} to 0x{last:04X}, in old manuals {first_ref} to {last_ref}\n\n",
        place(transport)
    );
    let body = match result {
        Err(error) => words_for(error, transport),
        Ok(bits) if table.is_bits() => columns::columns(&bit_rows(places, bits), colour),
        Ok(words) => {
            let registers = columns::columns(&register_rows(places, words), colour);
            let guesses = columns::columns(&guess_rows(address, &survey(words)), colour);
            format!("{registers}\n{guesses}")
        }
    };
    head + &body
}

fn cells<const N: usize>(words: [&str; N]) -> Vec<Cell> {
    words.map(Cell::from).to_vec()
}

fn bit_rows(places: Places, bits: &[u16]) -> Vec<Vec<Cell>> {
    let mut rows = vec![cells(["ADDRESS", "REF", "BIT"])];
    for (address, bit) in (places.address..=u16::MAX).zip(bits) {
        let reference = places.table.reference(address);
        rows.push(cells([&address.to_string(), &reference, &bit.to_string()]));
    }
    rows
}

fn register_rows(places: Places, words: &[u16]) -> Vec<Vec<Cell>> {
    let mut rows = vec![cells([
        "ADDRESS",
        "REF",
        "HEX",
        "HIGH",
        "LOW",
        "BITS 15 TO 0",
        "TEXT",
    ])];
    for (address, word) in (places.address..=u16::MAX).zip(words) {
        let [high, low] = word.to_be_bytes();
        let letter = |byte: u8| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        };
        let bits = format!(
            "{:04b} {:04b} {:04b} {:04b}",
            high >> 4,
            high & 15,
            low >> 4,
            low & 15
        );
        rows.push(cells([
            &address.to_string(),
            &places.table.reference(address),
            &format!("{word:04X}"),
            &high.to_string(),
            &low.to_string(),
            &bits,
            &format!("{}{}", letter(high), letter(low)),
        ]));
    }
    rows
}

/// The widest text that is shown in a column; the JSON form has all of it.
const WIDEST: usize = 40;

fn guess_rows(address: u16, rows: &[Row]) -> Vec<Vec<Cell>> {
    let mut out = vec![cells(["ADDRESS", "TYPE", "ABCD", "CDAB", "BADC", "DCBA"])];
    for row in rows {
        let mut line = vec![Cell::from(extent(address, row)), Cell::from(row.kind)];
        for order in orders(2) {
            let guess = row.guesses.iter().find(|guess| guess.order == *order);
            line.push(guess.map_or_else(|| Cell::from(""), cell));
        }
        out.push(line);
    }
    out
}

fn cell(guess: &Guess) -> Cell {
    let mut text = match guess.reading.value() {
        Some(value) => values::text(value),
        None => "-".to_owned(),
    };
    if text.chars().count() > WIDEST {
        text = text.chars().take(WIDEST - 1).chain(['…']).collect();
    }
    if guess.plausible {
        Cell::from(text)
    } else {
        Cell::dim(text)
    }
}

fn extent(address: u16, row: &Row) -> String {
    let first = usize::from(address) + row.at;
    match row.width {
        1 => first.to_string(),
        width => format!("{first}-{}", first + usize::from(width) - 1),
    }
}

fn as_json(
    places: Places,
    unit: u8,
    transport: &Transport,
    result: &Result<Vec<u16>, FieldError>,
) -> serde_json::Value {
    let Places {
        table,
        address,
        count,
    } = places;
    let mut out = json!({
        "line": place(transport),
        "unit": unit,
        "table": table.as_str(),
        "address": address,
        "count": count,
        "ref": table.reference(address),
    });
    let Some(object) = out.as_object_mut() else {
        return out;
    };
    match result {
        Err(error) => {
            object.insert("error".to_owned(), json_for(error, transport));
        }
        Ok(bits) if table.is_bits() => {
            object.insert("bits".to_owned(), json!(bits));
        }
        Ok(words) => {
            object.insert("registers".to_owned(), json!(words));
            let rows = survey(words);
            let rows: Vec<_> = rows
                .iter()
                .map(|row| json_row(table, address, row))
                .collect();
            object.insert("types".to_owned(), json!(rows));
        }
    }
    out
}

fn json_row(table: Table, address: u16, row: &Row) -> serde_json::Value {
    let at = usize::from(address) + row.at;
    let orders: Map<_, _> = row
        .guesses
        .iter()
        .map(|guess| {
            let value = guess.reading.value().map(values::as_json);
            let quality = guess.reading.quality().to_string();
            let guess_json =
                json!({ "value": value, "quality": quality, "plausible": guess.plausible });
            (guess.order.to_owned(), guess_json)
        })
        .collect();
    json!({
        "address": at,
        "ref": u16::try_from(at).map(|at| table.reference(at)).ok(),
        "registers": row.width,
        "type": row.kind,
        "orders": orders,
    })
}
