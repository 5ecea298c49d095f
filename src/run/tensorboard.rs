//! TensorBoard's event file: scalars as protobuf messages in TFRecord frames.
//!
//! A frame is `length: u64, crc(length): u32, data, crc(data): u32`, little endian, with CRC-32C masked
//! as TFRecord asks (rotated right by 15, plus a constant, so that a crc of data holding crcs stays useful).

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC_MASK_DELTA: u32 = 0xa282_ead8;

// Protobuf tags: field number << 3 | wire type (0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes).
const EVENT_WALL_TIME: u8 = 1 << 3 | 1;
const EVENT_STEP: u8 = 2 << 3;
const EVENT_FILE_VERSION: u8 = 3 << 3 | 2;
const EVENT_SUMMARY: u8 = 5 << 3 | 2;
const SUMMARY_VALUE: u8 = 1 << 3 | 2;
const VALUE_TAG: u8 = 1 << 3 | 2;
const VALUE_SIMPLE: u8 = 2 << 3 | 5;

/// The frame every event file begins with. `time` is in seconds since 1970.
pub(super) fn file_header(time: f64) -> Vec<u8> {
    let mut event = wall_time(time);
    put_bytes(&mut event, EVENT_FILE_VERSION, b"brain.Event:2");
    frame(&event)
}

/// One frame with the scalars of one step.
pub(super) fn scalars<'a>(
    time: f64,
    step: u64,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        put_bytes(&mut value, VALUE_TAG, tag.as_bytes());
        value.push(VALUE_SIMPLE);
        value.extend((number as f32).to_le_bytes());
        put_bytes(&mut summary, SUMMARY_VALUE, &value);
    }
    let mut event = wall_time(time);
    event.push(EVENT_STEP);
    put_varint(&mut event, step);
    put_bytes(&mut event, EVENT_SUMMARY, &summary);
    frame(&event)
}

fn wall_time(time: f64) -> Vec<u8> {
    let mut event = vec![EVENT_WALL_TIME];
    event.extend(time.to_le_bytes());
    event
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

fn masked_crc(bytes: &[u8]) -> u32 {
    CRC32C
        .checksum(bytes)
        .rotate_right(15)
        .wrapping_add(CRC_MASK_DELTA)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An event, read back: wall time, step, file version, scalars.
    #[derive(Debug, Default, PartialEq)]
    pub struct Event {
        pub time: f64,
        pub step: u64,
        pub version: String,
        pub values: Vec<(String, f32)>,
    }

    /// Reads an event file strictly: every crc, every length, every field.
    pub fn decode(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (length_crc, rest) = rest.split_at(4);
            assert_eq!(masked_crc(length).to_le_bytes(), length_crc);
            let (data, rest) =
                rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (data_crc, rest) = rest.split_at(4);
            assert_eq!(masked_crc(data).to_le_bytes(), data_crc);
            events.push(event(data));
            bytes = rest;
        }
        events
    }

    fn event(mut data: &[u8]) -> Event {
        let mut event = Event::default();
        while let Some(tag) = take(&mut data, 1).first() {
            match tag {
                9 => event.time = f64::from_le_bytes(take(&mut data, 8).try_into().unwrap()),
                16 => event.step = varint(&mut data),
                26 => event.version = String::from_utf8(field(&mut data).to_vec()).unwrap(),
                42 => event.values = summary(field(&mut data)),
                tag => panic!("unknown tag {tag}"),
            }
        }
        event
    }

    fn summary(mut data: &[u8]) -> Vec<(String, f32)> {
        let mut values = Vec::new();
        while let Some(10) = take(&mut data, 1).first() {
            let mut value = field(&mut data);
            assert_eq!(take(&mut value, 1), [10]);
            let tag = String::from_utf8(field(&mut value).to_vec()).unwrap();
            assert_eq!(take(&mut value, 1), [21]);
            values.push((tag, f32::from_le_bytes(value.try_into().unwrap())));
        }
        values
    }

    fn field<'a>(data: &mut &'a [u8]) -> &'a [u8] {
        let length = varint(data) as usize;
        take(data, length)
    }

    fn varint(data: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = take(data, 1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn take<'a>(data: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, tail) = data.split_at(count.min(data.len()));
        *data = tail;
        head
    }

    #[test]
    fn crc32c_is_castagnolis_and_masked_as_tfrecord_masks_it() {
        // RFC 3720, B.4: 32 bytes of zeros, 32 bytes of ones.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC32C.checksum(&[0xff; 32]), 0x62a8_ab43);
        // 0x8a9136aa rotated right by 15 bits is 0x6d551522; plus 0xa282ead8.
        let want = 0x6d55_1522_u32.wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(&[0; 32]), want);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = file_header(1.5);
        bytes.extend(scalars(
            2.5,
            300,
            [("sft/train/loss", 0.25), ("x", f64::NAN)],
        ));
        let events = decode(&bytes);
        assert_eq!(events[0].version, "brain.Event:2");
        assert_eq!((events[1].time, events[1].step), (2.5, 300));
        assert_eq!(events[1].values[0], ("sft/train/loss".to_owned(), 0.25));
        assert!(events[1].values[1].1.is_nan());
    }
}
