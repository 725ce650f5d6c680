"""Reading and writing: times, colours, rotation, sound, and files that are no videos."""

import contextlib
import wave
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from emojax.film import reading, writing
from emojax.film.reading import Video
from emojax.runtime.cli import run_command
from emojax.runtime.errors import UserError

av = pytest.importorskip("av")

TIMES = [0, 512, 1024, 1700, 2300, 2812, 4000, 4512]
"""In units of 1/12800 s: a variable frame rate."""
WIDTH, HEIGHT = 96, 64


def pictures():
    """A slope of colours with a dark square that moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    slope = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, 255 - x - y], -1).astype(np.uint8)
    made = []
    for index in range(len(TIMES)):
        picture = slope.copy()
        picture[16:32, 8 * index : 8 * index + 16] = 20
        made.append(picture)
    return made


def write(file, frames, *, times=TIMES, sound=None, lossless=False, chunks=1):
    """Write frames as a film, with a WAV file as sound."""
    film = Video(
        sound or file, WIDTH, HEIGHT, Fraction(1, 12800), Fraction(25), 0, sounds=sound is not None
    )
    names, per = [], -(-len(frames) // chunks)
    for start in range(0, len(frames), per):
        names.append(file.with_name(f"{file.stem}-{start}.nut"))
        with writing.chunk_writer(names[-1], film, lossless=lossless) as put:
            for pts, picture in zip(times[start : start + per], frames[start:], strict=False):
                put(pts, picture)
    writing.join(names, film, file)
    return reading.describe(file)


def read(video, start=0):
    return list(reading.read(video, start))


def seconds(video, frames):
    return [float(frame.pts * video.time_base) for frame in frames]


@pytest.fixture
def tone(tmp_path):
    with wave.open(str(tmp_path / "tone.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes((3000 * np.sin(np.arange(3200) / 4)).astype("<i2").tobytes())
    return tmp_path / "tone.wav"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_and_pictures_are_kept(tmp_path, suffix):
    made = pictures()
    video = write(tmp_path / f"film{suffix}", made, chunks=3)
    frames = read(video)
    wanted = [time / 12800 for time in TIMES]
    # Matroska counts in milliseconds
    atol = 1e-9 if suffix != ".mkv" else 5.1e-4
    np.testing.assert_allclose(seconds(video, frames), wanted, rtol=0, atol=atol)
    assert [frame.number for frame in frames] == list(range(len(TIMES)))
    for frame, picture in zip(frames, made, strict=True):
        # H.264 at high quality, colours at half the resolution
        assert np.abs(frame.picture.astype(int) - picture).mean() < 2.5
    assert [frame.number for frame in read(video, 5)] == [5, 6, 7]


def test_chunks_join_to_the_same_film(tmp_path):
    made = pictures()
    one, three = (write(tmp_path / f"{n}.mp4", made, chunks=n) for n in (1, 3))
    assert seconds(one, read(one)) == seconds(three, read(three))


def test_pictures_of_a_gif_and_webp_are_kept(tmp_path):
    for suffix, worst in ((".webp", 6), (".gif", 12)):
        times = [0, 1280, 2560, 5120, 6400, 7680, 8960, 10240]
        video = write(tmp_path / f"film{suffix}", pictures(), times=times, lossless=True)
        frames = read(video)
        assert video.moving_picture
        wanted = [0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8]
        np.testing.assert_allclose(seconds(video, frames), wanted, rtol=0, atol=0.011)
        for frame, picture in zip(frames, pictures(), strict=True):
            assert np.abs(frame.picture.astype(int) - picture).mean() < worst  # a palette


def packets(file):
    with av.open(str(file)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.dts is not None]


def test_sound_is_copied_where_the_container_takes_it(tmp_path, tone):
    video = write(tmp_path / "one.mkv", pictures(), sound=tone)
    assert video.sounds == 1
    film = reading.describe(tmp_path / "one.mkv")
    with writing.chunk_writer(tmp_path / "again.nut", film) as put:
        for frame in reading.read(film):
            put(frame.pts, frame.picture)
    writing.join([tmp_path / "again.nut"], film, tmp_path / "again.mkv")
    assert packets(tmp_path / "again.mkv") == packets(tmp_path / "one.mkv")
    assert len(packets(tmp_path / "again.mkv")) > 0


def test_sound_is_encoded_where_it_is_not_taken(tmp_path, tone):
    video = write(tmp_path / "one.mp4", pictures(), sound=tone)
    with av.open(str(video.file)) as container:
        stream = container.streams.audio[0]
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        assert heard.std() > 0.01
        assert len(heard) / stream.rate == pytest.approx(0.4, abs=0.15)  # AAC's own padding


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_film_is_read_upright(tmp_path, degrees):
    made = pictures()
    write(tmp_path / "film.mp4", made)
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: the matrix comes 40 bytes after the name
    c, s = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]  # clockwise, as players show it
    matrix = [c, s, 0, -s, c, 0]
    for index, value in enumerate(matrix):
        data[place + 4 * index : place + 4 * index + 4] = (value << 16).to_bytes(
            4, "big", signed=True
        )
    (tmp_path / "turned.mp4").write_bytes(data)
    video = reading.describe(tmp_path / "turned.mp4")
    turned = np.rot90(made[0], -degrees // 90)
    assert (video.height, video.width) == turned.shape[:2]
    assert np.abs(read(video)[0].picture.astype(int) - turned).mean() < 2.5


def test_odd_sides_are_made_even(tmp_path):
    film = Video(tmp_path, 33, 35, Fraction(1, 12800), Fraction(25), 0)
    with writing.chunk_writer(tmp_path / "a.nut", film) as put:
        put(0, np.full((35, 33, 3), 90, np.uint8))
    writing.join([tmp_path / "a.nut"], film, tmp_path / "a.mp4")
    assert read(reading.describe(tmp_path / "a.mp4"))[0].picture.shape == (36, 34, 3)


def bad_files(folder):
    (folder / "text.mp4").write_text("not a video")
    (folder / "empty.mp4").write_bytes(b"")
    Image.fromarray(pictures()[0]).save(folder / "still.webp")
    Image.fromarray(pictures()[0]).save(folder / "still.png")
    write(folder / "whole.mp4", pictures())
    (folder / "list.mp4").write_text(f"ffconcat version 1.0\nfile {folder}/whole.mp4\n")
    (folder / "play.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/whole.mp4\n")
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        samples = np.zeros((1, 4096), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.mp4", "no file .*give the path of a video"),
        ("text.mp4", "is not a video that can be opened"),
        ("empty.mp4", "is not a video that can be opened"),
        ("still.webp", "is a still picture: wanted a video"),
        ("still.png", "is a still picture: wanted a video"),
        ("list.mp4", "is not a video that can be opened"),
        ("play.mp4", "is not a video that can be opened"),
        ("cut.mp4", "is not a video that can be opened"),
        ("sound.mp4", "holds sound without pictures"),
        (".", "no file"),
    ],
)
def test_files_that_are_no_videos(tmp_path, name, sentence):
    bad_files(tmp_path)
    with pytest.raises(UserError, match=sentence) as error:
        reading.describe(tmp_path / name)
    assert "\n" not in str(error.value)


def test_damage_in_the_middle_is_one_sentence(tmp_path):
    write(tmp_path / "film.mkv", pictures())
    data = bytearray((tmp_path / "film.mkv").read_bytes())
    data[-300:] = bytes(300)
    (tmp_path / "damaged.mkv").write_bytes(data)
    video = reading.describe(tmp_path / "damaged.mkv")
    with contextlib.suppress(UserError):  # or what can be decoded is all there is
        assert len(read(video)) < len(TIMES)


def test_small_files_of_large_frames_are_refused(tmp_path):
    """A GIF of one colour: 3,000 bytes for each of its frames of ten million pixels."""
    file = tmp_path / "large.gif"
    large = Image.new("P", (10_000, 1000))
    large.save(file, save_all=True, append_images=[Image.new("P", (10_000, 1000), 1)])
    with pytest.raises(UserError, match=r"claims frames of 10000x1000 pixels in [\d,]+ bytes"):
        reading.describe(file)


def test_a_gif_that_makes_pillow_fail_in_its_own_way_is_one_sentence(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (0, 99)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: data.rindex(b"\x21\xf9\x04") + 1])  # IndexError
    with pytest.raises(UserError, match=r"a\.gif cannot be decoded"):
        reading.describe(tmp_path / "a.gif")


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path):
    import threading

    video = write(tmp_path / "film.mp4", pictures())
    before = threading.active_count()
    frames = reading.read(video)
    assert next(frames).number == 0
    frames.close()
    assert threading.active_count() == before


def test_a_chunk_is_whole_or_not_there(tmp_path):
    film = Video(tmp_path, 32, 32, Fraction(1, 12800), Fraction(25), 0)

    def half():
        with writing.chunk_writer(tmp_path / "a.nut", film) as put:
            put(0, np.zeros((32, 32, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a", "nowhere/a.mp4"])
def test_names_that_cannot_be_written(name, tmp_path, capsys):
    assert run_command(lambda: writing.check_name(tmp_path / name)) == 2
    assert "--out" in capsys.readouterr().err
