//! Steps that read a value in pieces, or into a file.

use std::io::{Cursor, Read, Seek, SeekFrom};

use kv_core::{KeyBuf, KeyValueStoreExt};

use super::{Model, Run};
use crate::model::step::{Reading, Step, value as shown};
use crate::running::{NotPassed, Outcome, show_error};

impl Model<'_> {
    pub(super) fn get_file(&mut self, run: &Run<'_>, key: &KeyBuf) -> Outcome {
        const BEFORE: &[u8] = b"what was in the file before";
        std::fs::write(&self.file, BEFORE).map_err(NotPassed::failed_beside_the_store)?;
        let file = self.file.clone();
        let (got, during) = self.finds(run, |store| store.get_file(key, &file))?;
        let written = std::fs::read(&self.file).map_err(NotPassed::failed_beside_the_store)?;
        if got.is_none() && written != BEFORE {
            return self.wrong(run, "the file is left as it was (S4)", &shown(&written));
        }
        self.see_value(run, key, got.map(|_length| written.into()), during)
    }

    pub(super) fn open(&mut self, run: &Run<'_>, key: &KeyBuf, readings: &[Reading]) -> Outcome {
        let (reader, during) = self.finds(run, |store| store.open(key))?;
        let Some(mut reader) = reader else { return self.see(run, key, false, &"NotFound", during) };
        let came = readings.iter().map(|reading| reading.done_with(&mut reader)).collect::<Vec<_>>();
        let mut value = Vec::new();
        let whole = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_to_end(&mut value));
        whole.map_err(|error| self.found(run, "its value can be read", &show_error(&error)))?;
        let mut cursor = Cursor::new(&value);
        for (reading, came) in readings.iter().zip(came) {
            let before = cursor.position();
            let want = reading.done_with(&mut cursor);
            if cursor.position() > FAR && came == failed_at(Some(before)) {
                cursor.set_position(before);
            } else if came != want {
                let want = format!("{reading:?} gives {want}, of {} bytes", value.len());
                return self.wrong(run, &want, &came);
            }
        }
        self.see_value(run, key, Some(value.into()), during)
    }

    pub(super) fn while_reading(&mut self, run: &Run<'_>, key: &KeyBuf, read: usize, steps: &[Step]) -> Outcome {
        let (reader, during) = self.finds(run, |store| store.open(key))?;
        let Some(mut reader) = reader else { return self.see(run, key, false, &"NotFound", during) };
        self.see(run, key, true, &"a reader", during)?;
        let then = self.state.at(key);
        let mut value = Vec::new();
        let begin = (&mut reader).take(read as u64).read_to_end(&mut value);
        begin.map_err(|error| self.found(run, "its value can be read", &show_error(&error)))?;
        steps.iter().try_for_each(|step| self.step(step, run.handles))?;
        let rest = reader.read_to_end(&mut value);
        rest.map_err(|error| self.found(run, "the rest of its value can be read", &show_error(&error)))?;
        if then.clone().holding(&value.clone().into()).is_some() {
            return Ok(());
        }
        let want = format!("what was there when it was opened: {}", then.described(during, self.resolution));
        self.wrong(run, &want, &shown(&value))
    }
}

/// A reader need not be able to go beyond this: a file system has a largest offset.
pub(crate) const FAR: u64 = 1 << 40;

/// What a seek that fails comes to.
fn failed_at(position: Option<u64>) -> String {
    format!("an error, at {position:?}")
}

impl Reading {
    /// What came of it, as text.
    fn done_with(self, reader: &mut (impl Read + Seek)) -> String {
        match self {
            Self::Read(count) => {
                let mut read = Vec::new();
                match reader.take(count as u64).read_to_end(&mut read) {
                    Ok(_) => format!("{}, at {:?}", shown(&read), reader.stream_position().ok()),
                    Err(_) => "an error".into(),
                }
            }
            Self::Seek(to) => match reader.seek(to) {
                Ok(position) => format!("{position}, at {:?}", reader.stream_position().ok()),
                Err(_) => failed_at(reader.stream_position().ok()),
            },
        }
    }
}
