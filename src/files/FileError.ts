import { Data, Result } from "effect"

/** A data file that cannot be read: which file, what is wrong with it, and where in it. */
export class FileError extends Data.TaggedError("FileError")<{
  readonly file: string
  /** What is wrong, naming the entry or byte where there is one. */
  readonly message: string
  readonly hint?: string
}> {}

/** Refuses a file from inside a reader; `reading` turns it into a result. */
export const refuse = (file: string, what: string, hint?: string): FileError =>
  new FileError({ file, message: `${file}: ${what}`, ...(hint === undefined ? {} : { hint }) })

/** Runs a reader that throws `FileError`. Anything else it throws is a defect and passes through. */
export const reading = <A>(read: () => A): Result.Result<A, FileError> =>
  Result.try({
    try: read,
    catch: (cause) => {
      if (cause instanceof FileError) return cause
      throw cause
    }
  })

/** A name from a file, made safe to print: quoted, escaped, short. */
export const quoted = (name: string): string =>
  JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name)
