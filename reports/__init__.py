"""What is shown: results.json, Allure, HTML, JUnit and the terminal."""
